"""Drives a `Flow` over a channel of grpc.aio; what `streaming` is to the sync client.

Three tasks share the flow on one loop: one reads the caller's iterable, one writes, one listens.
Only one may write (grpc.aio drops what two write at once), and while it waits for the server the
others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from qwire.aio_calls import end_of
from qwire.channels import EMBED, EMBED_STREAM
from qwire.config import call_metadata
from qwire.errors import QwireError
from qwire.failures import read_failure
from qwire.retry import is_lost_transport
from qwire.state import sign
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

    from qwire.channels import Link
    from qwire.results import StreamItem
    from qwire.state import State
    from qwire.stream import Flow

# A plain iterable never lets go of the loop by itself.
_ITEMS_PER_TURN = 64


async def drive(
    state: State,
    open_link: Callable[[], Link],
    flow: Flow,
    items: Iterable[object] | AsyncIterable[object],
) -> AsyncGenerator[StreamItem, None]:
    """Send `items`, yield answers. Closing the generator cancels the call.

    Errors are those of `streaming.drive`.
    """
    wire = _Wire(state, open_link, flow)
    wire.start(wire.feed(items))
    try:
        while True:
            while (item := flow.next_item()) is not None:
                wire.room.set()
                yield item
            if wire.broken is not None:
                raise wire.broken
            patience = flow.patience(time.monotonic())
            if flow.is_over or (patience is not None and patience <= 0):
                break
            await wire.news(patience)
        if error := flow.failure(wire.request_id):
            state.check_open()
            raise error from wire.error
    finally:
        await wire.close()


class _Wire:
    """The call, opened at the first chunk, and the tasks around it."""

    def __init__(self, state: State, open_link: Callable[[], Link], flow: Flow) -> None:
        self._state = state
        self._open_link = open_link
        self._link: Link | None = None
        self._flow = flow
        self.request_id = uuid.uuid4().hex
        self.error: grpc.RpcError | None = None
        self.broken: BaseException | None = None  # what a task raised
        self.room = asyncio.Event()  # the flow may want input again
        self._changed = asyncio.Event()  # the flow has changed
        self._heard = False
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()  # None half-closes
        self._call: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task beside the consumer; what it raises comes out of the consumer's iterator."""
        self._tasks.append(asyncio.ensure_future(self._guard(work)))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BaseException as error:
            self.broken = error
            self._changed.set()
            if not isinstance(error, Exception):
                raise

    async def feed(self, items: Iterable[object] | AsyncIterable[object]) -> None:
        """Read the caller's iterable as far as the flow has room."""
        async with contextlib.aclosing(_each(items)) as each:
            async for item in each:
                self._flow.add(item)
                self._say()
                while not self._flow.wants_input:
                    self.room.clear()
                    await self.room.wait()
        self._flow.end_input()
        self._say()

    async def news(self, seconds: float | None) -> None:
        """Wait until the flow has changed, or for `seconds`."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self._changed.clear()

    async def close(self) -> None:
        """Cancel what still runs."""
        if self._call is not None and self._link is not None:
            self._call.cancel()
            self._link.calls.discard(self._call)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _say(self) -> None:
        """Queue what is due, after any change of the flow."""
        now = time.monotonic()
        while (chunk := self._flow.take_chunk(now)) is not None:
            if self._call is None:
                self._open()
            self._outbox.put_nowait(chunk)
        if self._flow.take_half_close(now):
            self._outbox.put_nowait(None)
        self._changed.set()

    def _open(self) -> None:
        self._link = self._open_link()
        metadata = call_metadata(self._state.config, self.request_id)
        self._call = self._link.stream(EMBED_STREAM)(metadata=metadata)
        self._link.calls.add(self._call)
        self.start(self._write())
        self.start(self._listen())

    async def _write(self) -> None:
        try:
            while (chunk := await self._outbox.get()) is not None:
                await self._call.write(chunk)
            await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call has ended, and the listener says how
        except asyncio.CancelledError:
            self._raise_if_ours()

    async def _listen(self) -> None:
        try:
            while (reply := await self._call.read()) is not grpc.aio.EOF:
                self._state.reached = True
                self._heard = True
                self._flow.receive(reply, time.monotonic())
                self._say()
        except QwireError as lie:
            sign(lie, self._state, self.request_id)
            raise
        except grpc.RpcError:
            pass  # its status says it all
        except asyncio.CancelledError:
            self._raise_if_ours()
        error = await end_of(self._call)
        if error is not None and not self._heard:
            error = await self._true_reason(error)
        self.error = error
        self._flow.end(None if error is None else read_failure(error))
        self.room.set()
        self._say()

    async def _true_reason(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Why the server refused the stream.

        A status that meets a write comes out of grpc.aio as "Internal error from Core" (2 of 3
        times, measured), and a wrong model or key would look like a lost connection. The same
        options in a unary call without texts cost nothing, and their refusal arrives.
        """
        if self._link is None or self._state.closed or not is_lost_transport(read_failure(error)):
            return error
        call = self._link.unary(EMBED)(
            pb.EmbedRequest(options=self._flow.options),
            timeout=self._state.config.timeout,
            metadata=call_metadata(self._state.config, self.request_id),
        )
        reason = await end_of(call)
        return error if reason is None else reason

    def _raise_if_ours(self) -> None:
        """A call that was cut looks, to who reads or writes it, like a cancelled task."""
        if not self._call.done():
            raise asyncio.CancelledError


async def _each(items: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[object, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for number, item in enumerate(items, 1):
        yield item
        if number % _ITEMS_PER_TURN == 0:
            await asyncio.sleep(0)
