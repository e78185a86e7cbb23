"""What a server's ports stand in front of: models in this process, by default."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

from qwire_server.build import build
from qwire_server.load_all import load_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.api.gate import Gate
    from qwire_server.api.metrics import MetricsObserver
    from qwire_server.api.served import Served
    from qwire_server.api.stats import Counters
    from qwire_server.build import Built
    from qwire_server.checkpoint.progress import Progress
    from qwire_server.engine.observer import Observer
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings


class Ready(NamedTuple):
    """What the log says of a backend: its models, what it took to load them, and that it is so."""

    models: str
    loading: str
    word: str = "ready"


class Backend(Protocol):
    """Answers what the ports take in."""

    async def open(self, gate: Gate, keyring: Keyring, on_fatal: Callable[[str], None]) -> Ready:
        """Get ready, and open the gate.

        Args:
            gate: of the ports.
            keyring: says what a key's client may use.
            on_fatal: told, in the event loop, why nothing will be answered any more.

        Raises:
            StartError: a model cannot be served.
        """

    async def metrics(self, gate: Gate) -> bytes:
        """All figures in Prometheus' text format."""

    async def close(self) -> None:
        """Answer what was accepted, and end."""

    def __repr__(self) -> str:
        """What it is doing."""


class Local:
    """Loads the models, and runs them in this process.

    Args:
        settings: of this server.
        progress: told how a download goes.
        load: where the embedding model comes from; see `load_all`.
        load_ranker: where the reranker comes from.
        observer: told of each batch.
        counters: that `Stats` shows.
        figures: that `/metrics` shows.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        load: Callable[[Settings], LoadedModel] | None,
        load_ranker: Callable[[Settings, int], LoadedReranker] | None,
        *,
        observer: Observer,
        counters: Counters,
        figures: MetricsObserver,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._load = load
        self._load_ranker = load_ranker
        self._observer = observer
        self._counters = counters
        self._figures = figures
        self._built: Built | None = None

    def __repr__(self) -> str:
        return repr(self._built and self._built.engine)

    async def open(self, gate: Gate, keyring: Keyring, on_fatal: Callable[[str], None]) -> Ready:
        """See `Backend`."""
        loaded, ranker = await asyncio.to_thread(
            load_all, self._settings, self._progress, self._load, self._load_ranker
        )
        loop = asyncio.get_running_loop()
        self._built = built = build(
            self._settings,
            loaded,
            ranker,
            self._observer,
            self._counters,
            keyring,
            loop,
            lambda reason: _tell(loop, on_fatal, reason),
        )
        gate.open(built.embedder, built.reranker)
        return ready([m for m in (loaded, ranker and ranker.loaded) if m])

    async def metrics(self, gate: Gate) -> bytes:
        """See `Backend`."""
        await self._figures.look(gate)
        return await asyncio.to_thread(self._figures.exposed)

    async def close(self) -> None:
        """See `Backend`."""
        if self._built:
            await asyncio.to_thread(self._built.close)


def ready(models: Sequence[LoadedModel]) -> Ready:
    """What is told of loaded models."""
    seconds = sum(model.load_seconds for model in models)
    return Ready(
        " and ".join(named(model.served) for model in models),
        f"loaded in {seconds:.1f} s, {models[-1].memory}",
    )


def named(served: Served) -> str:
    """A model and where it runs."""
    about = f"{served.device}, {served.dtype}, fingerprint {served.fingerprint}"
    return f"{served.model} ({about})"


def _tell(loop: asyncio.AbstractEventLoop, on_fatal: Callable[[str], None], reason: str) -> None:
    """From any thread."""
    loop.call_soon_threadsafe(on_fatal, reason)
