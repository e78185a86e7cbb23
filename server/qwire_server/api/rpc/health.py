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

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context

# What each name stands for: anything at all, the embedding model, the reranker, or nothing of ours.
SERVICES: dict[str, Callable[[Gate], bool]] = {
    "": lambda gate: gate.is_serving,
    "qwire.v1.Embedding": lambda gate: gate.is_serving,
    "tei.v1.Info": lambda gate: gate.is_serving,
    "tei.v1.Tokenize": lambda gate: gate.is_serving,
    "tei.v1.Embed": lambda gate: gate.is_serving and gate.models()[0] is not None,
    "tei.v1.Rerank": lambda gate: gate.is_serving and gate.models()[1] is not None,
    "tei.v1.Predict": lambda _: False,  # no classifier is served
}
REASON_KEY = "qwire-reason"  # of the trailing metadata
_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # ships no types
    """Health of the whole server and of each service."""

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
        serving = SERVICES[service](self._gate)
        return _Response(status=_Response.SERVING if serving else _Response.NOT_SERVING)
