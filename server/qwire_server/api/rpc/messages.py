"""Reads every message that clients send: none is built before it is known to be small enough.

grpc.aio answers a message that it cannot parse with UNKNOWN, and a unary call without a message
with nothing. So each method takes bytes here, and a unary one takes a stream of them, which is the
same on the wire; both are answered by the guard, with a record of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from qwire_server.api.rpc.needs import label_of
from qwire_server.errors import InvalidRequest, RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from qwire_server.api.rpc.decoder import MessageDecoder
    from qwire_server.api.rpc.guard import Context, Guard

_NO_MESSAGE = "the call ended before its message: send one message"


class CheckedMessages(grpc.aio.ServerInterceptor):
    """Gives each method its messages, or answers in its place.

    Args:
        decoder: decodes the server's messages.
        guard: answers and records what is refused.
    """

    def __init__(self, decoder: MessageDecoder, guard: Guard) -> None:
        self._decoder = decoder
        self._guard = guard
        self._methods: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method that was called, behind the reading of its messages."""
        path = handler_call_details.method
        if path not in self._methods:
            method = await continuation(handler_call_details)
            if method is None:
                return None
            self._methods[path] = self._checked(path, method)
        return self._methods[path]

    def _checked(self, path: str, method: Any) -> Any:
        kind = _request_of(path)
        if method.request_streaming:
            return self._with_stream(kind, method)
        if method.response_streaming:
            return self._with_replies(path, kind, method)
        return self._unary(path, kind, method)

    def _unary(self, path: str, kind: type[Message], method: Any) -> Any:
        async def answer(_: object, context: Context) -> Any:
            message, held = await self._first(path, kind, context)
            try:
                return await method.unary_unary(message, context)
            finally:
                self._decoder.release(held)

        serializer = method.response_serializer
        return grpc.stream_unary_rpc_method_handler(answer, response_serializer=serializer)

    def _with_replies(self, path: str, kind: type[Message], method: Any) -> Any:
        async def answer(_: object, context: Context) -> None:
            message, held = await self._first(path, kind, context)
            try:
                async for reply in method.unary_stream(message, context):
                    await context.write(reply)
            finally:
                self._decoder.release(held)

        serializer = method.response_serializer
        return grpc.stream_stream_rpc_method_handler(answer, response_serializer=serializer)

    def _with_stream(self, kind: type[Message], method: Any) -> Any:
        async def answer(_: object, context: Context) -> Any:
            stream: Any = _StreamContext(context, kind, self._decoder)
            behavior = method.stream_stream or method.stream_unary
            reply = None
            with suppress(_Ended):
                reply = await behavior(stream.messages(), stream)
            await stream.written()
            return reply

        make = (
            grpc.stream_stream_rpc_method_handler
            if method.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(answer, response_serializer=method.response_serializer)

    async def _first(self, path: str, kind: type[Message], context: Context) -> tuple[Message, int]:
        """The message of a call that has one; without a good one the call ends here."""
        raw = await context.read()
        error: RequestError = InvalidRequest(_NO_MESSAGE)
        if raw is not grpc.aio.EOF:
            try:
                return await self._decoder.decode(raw, kind)
            except RequestError as refused:
                error = refused
        del raw
        await self._guard.turn_away(label_of(path), error, None, context)
        raise AssertionError("a call that is turned away ends there")


class _Ended(Exception):
    """The call has its status, which is sent once its last reply is read."""


class _StreamContext:
    """The context of a stream: decodes its messages, and sends its status after its replies.

    A status that is given to gRPC's core while a reply is not yet on its way is never sent, though
    the client reads that reply later (grpcio 1.85). So it is kept back for so long.

    Args:
        context: the context of grpc.aio, which does the rest.
        kind: class of the messages.
        decoder: decodes the server's messages.
    """

    def __init__(self, context: Context, kind: type[Message], decoder: MessageDecoder) -> None:
        self._context = context
        self._kind = kind
        self._decoder = decoder
        self._writing: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        """The next message, or `grpc.aio.EOF`.

        The window of a stream bounds the work that it has in flight, so each message counts only
        while it is decoded.

        Raises:
            RequestError: it is broken, or too large.
        """
        raw: Any = await self._context.read()
        if raw is grpc.aio.EOF:
            return raw
        message, held = await self._decoder.decode(raw, self._kind)
        self._decoder.release(held)
        return message

    def write(self, message: Any) -> asyncio.Future[None]:
        """Write a message; whoever stops to wait for it must not cancel it."""
        self._writing = asyncio.ensure_future(self._context.write(message))
        return self._writing

    async def written(self) -> None:
        """Wait until the last reply is on its way, however long the client does not read."""
        if self._writing and not self._writing.done():
            await asyncio.wait({self._writing})

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> None:
        """End the call.

        Raises:
            Exception: always.
        """
        if self._writing is None or self._writing.done():
            await self._context.abort(code, details, trailing_metadata)
        self._context.set_code(code)
        self._context.set_details(details)
        self._context.set_trailing_metadata(trailing_metadata)
        raise _Ended

    async def messages(self) -> AsyncIterator[Any]:
        """All of them."""
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message


def _request_of(path: str) -> type[Message]:
    """The class of a method's messages."""
    service, _, method = path.strip("/").rpartition("/")
    found = descriptor_pool.Default().FindServiceByName(service)
    return GetMessageClass(found.methods_by_name[method].input_type)
