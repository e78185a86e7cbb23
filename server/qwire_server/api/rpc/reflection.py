"""`grpc.reflection.v1alpha`: what services there are, for `grpcurl` and its like.

The library's servicer with our guard around it, so that a stream that stays open is one of our open
calls: it ends when its key is revoked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import grpc

    from qwire_server.api.rpc.guard import Context, Guard


def add_reflection(server: grpc.aio.Server, guard: Guard, services: Sequence[str]) -> None:
    """Serve it.

    Args:
        server: to add it to.
        guard: around each call.
        services: full names of all others.
    """
    names = [*services, reflection.SERVICE_NAME]
    add_ServerReflectionServicer_to_server(_ReflectionService(guard, names), server)


class _ReflectionService(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # ships no types
    def __init__(self, guard: Guard, services: Sequence[str]) -> None:
        super().__init__(services)
        self._guard = guard

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], context: Context) -> None:
        """A reply to each request."""
        async with self._guard.call("ServerReflectionInfo", context, RequestClass.INTERACTIVE):
            async for reply in super().ServerReflectionInfo(requests, context):
                await asyncio.shield(context.write(reply))  # see `messages.py`
