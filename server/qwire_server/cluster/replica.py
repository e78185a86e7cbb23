"""What one replica holds: loaded models, an engine, the methods of every service. Knows no Ray."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from qwire_server.api.gate import Gate
from qwire_server.api.rpc.guard import Guard
from qwire_server.api.rpc.health import HealthService
from qwire_server.api.rpc.ranking import RerankingService
from qwire_server.api.rpc.rules import StreamRules
from qwire_server.api.rpc.service import EmbeddingService
from qwire_server.api.stats import Counters
from qwire_server.api.tei.embed import EmbedService, PredictService
from qwire_server.api.tei.rerank import RerankService
from qwire_server.api.tei.text import InfoService, TokenizeService
from qwire_server.build import build
from qwire_server.checkpoint.progress import Progress
from qwire_server.engine.observer import LogObserver, Observers
from qwire_server.load_all import load_all
from qwire_server.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.build import Built
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")


class Replica:
    """Loads, then answers.

    Args:
        settings: of the server that this is one of.
        load: where the embedding model comes from; from where the settings say by default.
        load_ranker: where the reranker comes from, likewise.

    Attributes:
        failure: why nothing is answered any more; empty while all is well.
        services: what answers, by the full name of its service.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Settings], LoadedModel] | None = None,
        load_ranker: Callable[[Settings, int], LoadedReranker] | None = None,
    ) -> None:
        self.failure = ""
        self._settings = settings
        self._counters = Counters()
        self._observer = Observers(LogObserver(), self._counters)
        self._progress = Progress()
        self._load = load
        self._load_ranker = load_ranker
        self._gate = Gate(self._progress)
        self._built: Built | None = None
        self._keyring = Keyring(None, _LOG.error)
        guard = Guard(self._gate, self._observer, self._keyring)
        rules = StreamRules(stalled_seconds=settings.stalled_seconds)
        self.services = _services(self._gate, guard, rules)

    def __repr__(self) -> str:
        return f"<Replica {self._gate!r}>"

    @property
    def queued_seconds(self) -> float:
        """Device time of what is accepted and not yet answered."""
        return self._built.room.admission.held / 1e6 if self._built else 0.0

    async def start(self) -> None:
        """Load, warm up, take work.

        Raises:
            StartError: a model cannot be served.
        """
        loaded, ranker = await asyncio.to_thread(
            load_all, self._settings, self._progress, self._load, self._load_ranker
        )
        loop = asyncio.get_running_loop()

        def on_fatal(reason: str) -> None:
            loop.call_soon_threadsafe(self._fail, reason)

        self._built = build(
            self._settings,
            loaded,
            ranker,
            self._observer,
            self._counters,
            self._keyring,
            loop,
            on_fatal,
        )
        self._gate.open(self._built.embedder, self._built.reranker)

    def close(self) -> None:
        """End the threads; blocks until what they run is done."""
        if self._built:
            self._built.close()

    def _fail(self, reason: str) -> None:
        _LOG.error("%s", reason)
        self.failure = reason
        self._gate.close(reason)


def _services(gate: Gate, guard: Guard, rules: StreamRules) -> dict[str, Any]:
    return {
        "qwire.v1.Embedding": EmbeddingService(gate, guard, rules),
        "qwire.v1.Reranking": RerankingService(gate, guard, rules),
        "tei.v1.Info": InfoService(gate, guard),
        "tei.v1.Embed": EmbedService(gate, guard, rules),
        "tei.v1.Predict": PredictService(gate, guard, rules),
        "tei.v1.Rerank": RerankService(gate, guard),
        "tei.v1.Tokenize": TokenizeService(gate, guard, rules),
        "grpc.health.v1.Health": HealthService(gate),
    }
