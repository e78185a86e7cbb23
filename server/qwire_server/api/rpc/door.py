"""Before every gRPC method: no key, no message read.

gRPC reads the whole message of a unary method before it calls it. Who may not come in gets a method
that reads nothing, whatever was called. What lets in is checked once more by the guard, which knows
the client by it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from qwire_server.api.rpc.guard import authorization
from qwire_server.api.rpc.needs import label_of, need_of
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qwire_server.api.rpc.guard import Guard
    from qwire_server.security.keyring import Keyring


class Door(grpc.aio.ServerInterceptor):
    """Lets in who may come in.

    Args:
        keyring: the keys.
        guard: tells the others why they may not.
    """

    def __init__(self, keyring: Keyring, guard: Guard) -> None:
        self._keyring = keyring
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method that was called, or one that refuses."""
        label = label_of(handler_call_details.method)
        sent = authorization(handler_call_details.invocation_metadata)
        try:
            self._keyring.admit(sent, need_of(label))
        except RequestError as error:
            turn_away = partial(self._guard.turn_away, label, error)
            return grpc.stream_stream_rpc_method_handler(turn_away)
        return await continuation(handler_call_details)
