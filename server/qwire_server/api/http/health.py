"""`/health/live`, `/health/ready`, `/metrics`: for supervisors, who send no JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from qwire_server.api.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qwire_server.api.gate import Gate

_RETRY_SECONDS = "5"


def routes(gate: Gate, metrics: Callable[[], Awaitable[bytes]]) -> APIRouter:
    """The routes of this server; `metrics` gives all figures as Prometheus reads them."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> JSONResponse:
        """Whether the process runs and its event loop turns: it answers."""
        return JSONResponse({"status": "alive"})

    @router.get("/health/ready")
    @router.get("/health", include_in_schema=False)  # its name at other servers
    async def ready() -> JSONResponse:
        """Whether new work is taken; if not, why."""
        if gate.is_serving:
            return JSONResponse({"status": "ready"})
        status = "draining" if gate.draining.is_set() else "loading"
        told = {"status": status, "reason": gate.reason}
        return JSONResponse(told, 503, {"retry-after": _RETRY_SECONDS})

    @router.get("/metrics")
    async def metrics_route() -> Response:
        """For Prometheus, in its text format."""
        return Response(await metrics(), media_type=CONTENT_TYPE)

    return router
