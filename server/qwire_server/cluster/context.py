"""A gRPC context for our methods, over the little that Ray gives of one.

Ray has no `abort`, and drops the trailers of a call that raises. So a refused call returns: with
its status, its message and its trailers set, and an empty reply that gRPC never sends. Only a
stream that came through Ray's own proxy, as some do while no replica is up, must raise, because the
proxy would take it for a success. It has the trailers in its message, where our client finds them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from ray.serve.grpc_util import RayServegRPCContext


# What a client needs to know what to do; the rest is for people.
_TOLD = ("qwire-error-code", "grpc-retry-pushback-ms")


class Ended(Exception):
    """The call has its status: no error, but how `abort` leaves a method."""


class Context:
    """What our methods use of `grpc.aio.ServicerContext`.

    Args:
        given: Ray's.
        requests: messages of the client, where they are a stream.

    Attributes:
        failed: whether the call has a status that is not OK.
    """

    def __init__(
        self, given: RayServegRPCContext, requests: AsyncIterator[Any] | None = None
    ) -> None:
        self.failed = False
        self._given = given
        self._requests = requests
        self._written: asyncio.Queue[Any] = asyncio.Queue(1)

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """What the client sent beside the message."""
        return list(self._given.invocation_metadata())

    def auth_context(self) -> Mapping[str, Any]:
        """Nothing: TLS ends before Ray."""
        return dict(self._given.auth_context())

    def peer(self) -> str:
        """The proxy's address, which all clients share."""
        return str(self._given.peer())

    def time_remaining(self) -> None:
        """Ray does not tell; it cancels the call when its time is over."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status, which is not OK."""
        self.failed = True
        self._given.set_code(code)

    def set_details(self, details: str) -> None:
        """Set the status's message."""
        self._given.set_details(details)

    def set_trailing_metadata(self, trailers: Iterable[tuple[str, str | bytes]]) -> None:
        """Set what comes after the last message."""
        self._given.set_trailing_metadata(list(trailers))

    async def send_initial_metadata(self, headers: object) -> None:
        """Ray has no way to send any."""

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> None:
        """End the call.

        Raises:
            Ended: always.
        """
        self.set_code(code)
        self.set_details(details)
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        raise Ended

    def end_in_words(self) -> None:
        """End the call as `abort` did, with its trailers in its message.

        Raises:
            Ended: always.
        """
        trailers = dict(self._given.trailing_metadata())
        told = " ".join(f"{name}={trailers[name]}" for name in _TOLD if name in trailers)
        self.set_details(f"{self._given.details()} [{told}]")
        raise Ended

    async def read(self) -> Any:
        """The client's next message, `grpc.aio.EOF` after the last."""
        assert self._requests is not None, "this method has one request"
        return await anext(self._requests, grpc.aio.EOF)

    async def write(self, message: Any) -> None:
        """Send a message; waits while the one before it was not taken."""
        await self._written.put(message)

    async def replies(self, method: asyncio.Task[Any]) -> AsyncIterator[Any]:
        """What is written, until the method has ended."""
        while not method.done():
            taking = asyncio.ensure_future(self._written.get())
            try:
                await asyncio.wait({taking, method}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    yield taking.result()
            finally:
                taking.cancel()
        while not self._written.empty():
            yield self._written.get_nowait()
