"""Refuses callers by the names of their certificates, before what they send is read.

gRPC shows no peer to an interceptor. So each method is put behind a look at the peer; it reads
nothing before that, because `messages.py` gives each one a stream of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from qwire_server.api.rpc.needs import label_of
from qwire_server.errors import PermissionDenied
from qwire_server.security.names import certificate_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qwire_server.api.rpc.guard import Context, Guard

_OPEN = "/grpc.health.v1.Health/"  # probes are answered whoever asks


class AllowedNames(grpc.aio.ServerInterceptor):
    """Lets in certificates with one of these names, and health checks.

    Args:
        names: as certificates spell them.
        guard: answers and records what is refused.
    """

    def __init__(self, names: tuple[str, ...], guard: Guard) -> None:
        self._names = frozenset(names)
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method, behind a look at the peer."""
        method = await continuation(handler_call_details)
        path = handler_call_details.method
        if method is None or path.startswith(_OPEN):
            return method

        async def look_first(requests: Any, context: Context) -> Any:
            names = certificate_names(context.auth_context())
            if self._names.isdisjoint(names):
                error = PermissionDenied(_told(names))
                await self._guard.turn_away(label_of(path), error, requests, context)
            return await (method.stream_stream or method.stream_unary)(requests, context)

        make = (
            grpc.stream_stream_rpc_method_handler
            if method.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(look_first, response_serializer=method.response_serializer)


def _told(names: list[str]) -> str:
    if not names:
        return "the client's certificate has no name, and --tls-allowed-names asks for one"
    return f"the client's certificate is of {names[0]}, which --tls-allowed-names does not list"
