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
    from collections.abc import AsyncIterator

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context

SERVICES = ("", "qwire.v1.Embedding", "qwire.v1.Reranking")
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
        serving = self._gate.is_serving and self._has_model(service)
        return _Response(status=_Response.SERVING if serving else _Response.NOT_SERVING)

    def _has_model(self, service: str) -> bool:
        embedder, reranker = self._gate.models()
        wanted = {SERVICES[1]: embedder, SERVICES[2]: reranker}
        return not service or wanted[service] is not None
