"""Everything between the fronts and loaded models, built once and put together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from qwire_server.api.dispatch import Dispatcher
from qwire_server.api.embedder import Embedder
from qwire_server.api.reranker import Reranker
from qwire_server.api.room import Room
from qwire_server.api.stats import look
from qwire_server.engine.engine import Engine
from qwire_server.engine.queue.admission import Admission
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.queue.line import WaitLimits
from qwire_server.engine.queue.quota import Quota, Quotas
from qwire_server.engine.runner import Model
from qwire_server.text.pool import Pool

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from qwire_server.api.books import Books
    from qwire_server.api.desk import Desk, Worker
    from qwire_server.api.served import Served
    from qwire_server.api.stats import Counters, Stats
    from qwire_server.engine.observer import Observer
    from qwire_server.engine.queue.cost import CostModel
    from qwire_server.engine.work import Outcome
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings
    from qwire_server.text.encoder import Encoder


class Described(Protocol):
    """What the fronts must know of a model that something behind them runs."""

    @property
    def served(self) -> Served:
        """What it is."""

    @property
    def tokenizer(self) -> Encoder:
        """That makes its token ids."""

    @property
    def cost(self) -> CostModel:
        """Of its work."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What lies behind the fronts, in this process or in others; see `api.desk`."""

    room: Desk
    engine: Worker
    dispatcher: Dispatcher
    books: Books
    stats: Callable[[str | None], Awaitable[Stats]]


@dataclass(frozen=True, slots=True)
class Built:
    """What takes work in one process, and what must be closed after it."""

    engine: Engine
    room: Room
    pool: Pool
    embedder: Embedder | None
    reranker: Reranker | None

    def close(self) -> None:
        """Answer what was accepted, and end the threads; blocks."""
        self.engine.close()
        self.pool.close()


def build(  # noqa: PLR0917  each is one of its kind
    settings: Settings,
    loaded: LoadedModel | None,
    ranker: LoadedReranker | None,
    observer: Observer,
    counters: Counters,
    keyring: Keyring,
    loop: asyncio.AbstractEventLoop,
    on_fatal: Callable[[str], None],
) -> Built:
    """Start the engine and what feeds it, all in this process.

    Args:
        settings: of this server.
        loaded: the embedding model, if one is served.
        ranker: the reranker, if one is served; one of both at least.
        observer: told of each batch.
        counters: that `Stats` shows.
        keyring: says what a key's client may use.
        loop: where answers go.
        on_fatal: told, in any thread, why the device or the engine is lost.
    """
    dispatcher = Dispatcher(loop)
    models = [m for m in (loaded, ranker and ranker.loaded) if m]
    engine = start_engine(settings, models, dispatcher.deliver, observer, on_fatal)
    room = make_room(settings, keyring)

    async def stats(only: str | None) -> Stats:
        return look(counters, room, engine.waiting(), models[0].cost.accuracy, only)

    pool = Pool(settings.tokenizer_threads)
    behind = Behind(room, engine, dispatcher, counters.books, stats)
    return Built(
        engine,
        room,
        pool,
        make_embedder(loaded, behind, pool) if loaded else None,
        Reranker(make_embedder(ranker.loaded, behind, pool), ranker.prompt) if ranker else None,
    )


def start_engine(
    settings: Settings,
    models: Sequence[LoadedModel],
    deliver: Callable[[list[Outcome]], None],
    observer: Observer,
    on_fatal: Callable[[str], None],
) -> Engine:
    """An engine that runs these models; arguments as of `Engine`."""
    limits = models[0].served.limits
    return Engine(
        {m.served.model: Model(m.runner, m.cost, m.arithmetic) for m in models},
        limits=BatchLimits(
            tokens=limits.batch_tokens,
            texts=1 if settings.deterministic else limits.batch_tokens,
            launch=round(max(model.served.limits.launch_ms for model in models) * 1000),
            bulk_share=settings.bulk_share,
        ),
        deliver=deliver,
        observer=observer,
        on_fatal=on_fatal,
        stall_seconds=settings.stall_seconds,
    )


def make_room(settings: Settings, keyring: Keyring) -> Room:
    """Room for as much work as the settings allow, for all and for each client."""
    quotas = Quotas(partial(_quota, settings, keyring))
    limits = WaitLimits(settings.waiting_requests, settings.waiting_bytes)
    return Room(Admission(round(settings.queue_seconds * 1e6)), quotas, limits)


def make_embedder(model: Described, behind: Behind, pool: Pool) -> Embedder:
    """The way in for texts of one model."""
    return Embedder(
        served=model.served,
        tokenizer=model.tokenizer,
        pool=pool,
        room=behind.room,
        dispatcher=behind.dispatcher,
        engine=behind.engine,
        cost=model.cost,
        books=behind.books,
        stats=behind.stats,
    )


def _quota(settings: Settings, keyring: Keyring, client: str) -> Quota:
    """What a client may use: as its key says, else as the settings do."""
    key = keyring.keys.by_client.get(client)
    return Quota(
        (key and key.tokens_per_minute) or settings.client_tokens_per_minute,
        (key and key.streams) or settings.client_streams,
    )
