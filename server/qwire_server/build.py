"""Everything between the fronts and loaded models, built once and put together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qwire_server.api.dispatch import Dispatcher
from qwire_server.api.embedder import Embedder
from qwire_server.api.reranker import Reranker
from qwire_server.api.room import Room
from qwire_server.engine.engine import Engine
from qwire_server.engine.queue.admission import Admission
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.queue.quota import Quota, Quotas
from qwire_server.engine.runner import Model
from qwire_server.text.pool import Pool

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from qwire_server.api.stats import Counters
    from qwire_server.engine.observer import Observer
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Built:
    """What takes work, and what must be closed after it."""

    engine: Engine
    pool: Pool
    embedder: Embedder | None
    reranker: Reranker | None


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
    """Start the engine and what feeds it.

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
    limits = models[0].served.limits
    engine = Engine(
        {m.served.model: Model(m.runner, m.cost, m.arithmetic) for m in models},
        limits=BatchLimits(
            tokens=limits.batch_tokens,
            texts=1 if settings.deterministic else limits.batch_tokens,
            launch=round(limits.launch_ms * 1000),
            bulk_share=settings.bulk_share,
        ),
        deliver=dispatcher.deliver,
        observer=observer,
        on_fatal=on_fatal,
        stall_seconds=settings.stall_seconds,
    )
    pool = Pool(settings.tokenizer_threads)
    quotas = Quotas(partial(_quota, settings, keyring))
    room = Room(Admission(round(settings.queue_seconds * 1e6)), quotas)

    def embedder(model: LoadedModel) -> Embedder:
        return Embedder(
            served=model.served,
            tokenizer=model.tokenizer,
            pool=pool,
            room=room,
            dispatcher=dispatcher,
            engine=engine,
            cost=model.cost,
            counters=counters,
        )

    return Built(
        engine,
        pool,
        embedder(loaded) if loaded else None,
        Reranker(embedder(ranker.loaded), ranker.prompt) if ranker else None,
    )


def _quota(settings: Settings, keyring: Keyring, client: str) -> Quota:
    """What a client may use: as its key says, else as the settings do."""
    key = keyring.keys.by_client.get(client)
    return Quota(
        (key and key.tokens_per_minute) or settings.client_tokens_per_minute,
        (key and key.streams) or settings.client_streams,
    )
