"""A server that answers each call with the bytes it was told to, whatever they mean.

It runs in a thread with an event loop of its own. Use in `with`.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import grpc.aio

from support.machine_speed import hang_limit


class Liar(grpc.GenericRpcHandler):
    """What tests set: the public attributes.

    Attributes:
        replies: bytes of each message that a call is answered with.
        trailers: that end each call.
        status: that ends each call.
        reads: whether it reads a stream to its half-close before it ends it.
        describes: bytes of the answer to `Describe`, if that is not to be a lie.
    """

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.trailers: tuple[tuple[str, str | bytes], ...] = ()
        self.status = grpc.StatusCode.OK
        self.reads = True
        self.describes: bytes | None = None
        self.calls = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *exc_info):
        self._run(self._server.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def service(self, details: Any) -> Any:
        """The handler of any method."""
        if details.method.endswith("Stream"):
            return grpc.stream_stream_rpc_method_handler(self._stream)
        if details.method.endswith("Describe") and self.describes is not None:
            return grpc.unary_unary_rpc_method_handler(self._describe)
        return grpc.unary_unary_rpc_method_handler(self._unary)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(hang_limit(10))

    async def _start(self):
        options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self,))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def _describe(self, _, __):
        return self.describes

    async def _unary(self, _, context):
        self.calls += 1
        context.set_code(self.status)
        context.set_details("told")
        context.set_trailing_metadata(self.trailers)
        return self.replies[0] if self.replies else b""

    async def _stream(self, _, context):
        self.calls += 1
        await context.read()
        for reply in self.replies:
            await context.write(reply)
        while self.reads and await context.read() is not grpc.aio.EOF:
            pass
        context.set_code(self.status)
        context.set_details("told")
        context.set_trailing_metadata(self.trailers)
