"""`grpc.health.v1`: SERVING only when the model is loaded and warm.

Our own few lines rather than the library's servicer, because watchers must end when the server
drains: an open Watch would hold it until the drain time is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire_server.api.rpc.guard import ascii_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qwire_server.api.embedder import Embedder
    from qwire_server.api.gate import Gate
    from qwire_server.api.reranker import Reranker
    from qwire_server.api.rpc.guard import Context

# What each name needs, as `Gate.models` has it: an embedding model, a reranker, or either.
SERVICES: dict[str, Callable[[Embedder | None, Reranker | None], object]] = {
    "": lambda embedder, reranker: embedder or reranker,
    "qwire.v1.Embedding": lambda embedder, _: embedder,
    "qwire.v1.Reranking": lambda _, reranker: reranker,
    "tei.v1.Info": lambda embedder, reranker: embedder or reranker,
    "tei.v1.Tokenize": lambda embedder, reranker: embedder or reranker,
    "tei.v1.Embed": lambda embedder, _: embedder,
    "tei.v1.Rerank": lambda _, reranker: reranker,
    "tei.v1.Predict": lambda *_: None,  # no classifier is served
}
REASON_KEY = "qwire-reason"  # of the trailing metadata
_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # ships no types
    """Health of the whole server and of its services: one without a model is NOT_SERVING."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The state now; while NOT_SERVING, the trailing metadata says why."""
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if reason := self._gate.reason:
            context.set_trailing_metadata(((REASON_KEY, ascii_line(reason)),))
        return self._status(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The state now and whenever it changes, until the server drains."""
        changed = asyncio.Event()
        self._gate.watch(changed.set)
        try:
            while True:
                yield self._status(request.service)
                if self._gate.draining.is_set() or request.service not in SERVICES:
                    return
                await changed.wait()
                changed.clear()
        finally:
            self._gate.unwatch(changed.set)

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in SERVICES:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        serving = self._gate.is_serving and SERVICES[service](*self._gate.models())
        return _Response(status=_Response.SERVING if serving else _Response.NOT_SERVING)
