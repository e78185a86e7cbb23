"""Drives a `Flow` over a channel of grpc.aio; what `streaming` is to the sync client.

Three tasks share the flow on one loop: one reads the caller's iterable, one writes, one listens.
Only one may write (grpc.aio drops what two write at once), and while it waits for the server the
others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from qwire.aio_calls import end_of
from qwire.config import call_metadata, stream_metadata
from qwire.errors import QwireError, ServerError
from qwire.failures import read_failure
from qwire.retry import is_lost_transport
from qwire.state import Clock, sign

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

    from qwire.channels import Link, Method
    from qwire.results import StreamItem
    from qwire.state import State
    from qwire.stream import Flow

# A plain iterable never lets go of the loop by itself.
_ITEMS_PER_TURN = 64
# A server that refuses does so at once.
_REASON_SECONDS = 5.0


async def drive(
    state: State,
    open_link: Callable[[Link | None], Link],
    flow: Flow,
    items: Iterable[object] | AsyncIterable[object],
) -> AsyncGenerator[StreamItem, None]:
    """Send `items`, yield answers, in as many calls as it takes. Closing the generator cancels.

    Arguments and errors are those of `streaming.drive`.
    """
    wire = _Wire(state, open_link, flow)
    clock = wire.clock
    wire.start(wire.feed(items))
    try:
        while True:
            while (item := flow.next_item()) is not None:
                wire.room.set()
                clock.stop()
                yield item
                clock.go_on()
            if wire.broken is not None:
                raise wire.broken
            if flow.is_over:
                break
            if flow.is_silent(clock.now()):
                wire.hang_up_silent()
                continue
            wire.say()
            await wire.news(flow.patience(clock.now()))
        if error := flow.failure():
            raise error from wire.error
    finally:
        await wire.close()


class _Wire:
    """The call that runs, if one does, and the tasks; the flow says when to open another call."""

    def __init__(self, state: State, open_link: Callable[[Link | None], Link], flow: Flow) -> None:
        self.clock = Clock()
        self.request_id = flow.request_id
        self.error: grpc.RpcError | None = None  # how the last call ended
        self.broken: BaseException | None = None  # what a task raised
        self.room = asyncio.Event()  # the flow may want input again
        self._state = state
        self._open_link = open_link
        self._stale: Link | None = None
        self._flow = flow
        self._changed = asyncio.Event()  # the flow has changed
        self._call: _Call | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, work: Coroutine[Any, Any, None], call: _Call | None = None
    ) -> asyncio.Task[None]:
        """Run a task beside the consumer; what it raises comes out of the consumer's iterator."""
        task = asyncio.ensure_future(self._guard(work, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, None], call: _Call | None) -> None:
        try:
            await work
        except BaseException as error:
            if call not in {None, self._call} and isinstance(error, asyncio.CancelledError):
                raise  # by us, when we hung up
            self.broken = error
            self._changed.set()
            if not isinstance(error, Exception):
                raise

    async def feed(self, items: Iterable[object] | AsyncIterable[object]) -> None:
        """Read the caller's iterable as far as the flow has room."""
        async with contextlib.aclosing(_each(items)) as each:
            async for item in each:
                self._flow.add(item)
                self.say()
                self._changed.set()
                while not self._flow.wants_input:
                    self.room.clear()
                    await self.room.wait()
        self._flow.end_input()
        self.say()
        self._changed.set()

    async def news(self, seconds: float | None) -> None:
        """Wait until the flow has changed, or for `seconds`."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self._changed.clear()

    def say(self) -> None:
        """Send what is due, in a new call if none runs."""
        now = self.clock.now()
        while (chunk := self._flow.take_chunk(now)) is not None:
            if self._call is None:
                self._call = self._open()
            self._call.outbox.put_nowait(chunk)
        if self._flow.take_half_close(now) and self._call is not None:
            self._call.outbox.put_nowait(None)

    def hang_up_silent(self) -> None:
        """Cancel the call, because the server owes a word for too long."""
        if self._call is not None:
            self._stale = self._call.link
        self.hang_up()
        self.error = None
        self._flow.fall_silent(self.clock.now())

    def hang_up(self) -> None:
        """Cancel the call if it still runs, and its tasks but the one that asks."""
        call, self._call = self._call, None
        if call is not None:
            call.close()

    async def close(self) -> None:
        """Cancel what still runs."""
        self.hang_up()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self) -> _Call:
        metadata = stream_metadata(self._state.config, self._flow)
        link, self._stale = self._open_link(self._stale), None
        call = _Call(link, self._flow.codec.method, metadata)
        call.tasks.append(self.start(call.write(), call))
        call.tasks.append(self.start(self._listen(call), call))
        return call

    async def _listen(self, call: _Call) -> None:
        heard = False
        while (reply := await call.read()) is not None and call is self._call:
            heard = True
            self._receive(reply)
        error = await end_of(call.rpc)
        if error is not None and not heard:
            error = await self._true_reason(call.link, error)
        if call is self._call:
            self._end(error)

    def _receive(self, reply: Any) -> None:
        self._state.reached = True
        try:
            self._state.check_same_model(self._flow.codec.options, reply)
            self._flow.receive(reply, self.clock.now())
        except QwireError as error:
            sign(error, self._state, self.request_id)
            raise
        self.say()
        self._changed.set()

    def _end(self, error: grpc.aio.AioRpcError | None) -> None:
        if self._flow.is_to_move and self._call is not None:
            self._stale = self._call.link
        self.hang_up()
        self.error = error
        failure = None if error is None else read_failure(error)
        if not self._flow.answered_all:
            self._state.check_open()
        if failure is not None and failure.is_word:
            self._state.reached = True
        self._flow.end(failure, self.clock.now(), reached=self._state.reached)
        self.room.set()
        self._changed.set()

    async def _true_reason(self, link: Link, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Why the server refused the stream.

        A status that meets a write comes out of grpc.aio as "Internal error from Core" (2 of 3
        times, measured), and a wrong model or key would look like a lost connection. The same
        options in a unary call without texts cost nothing, and their refusal arrives.
        """
        if self._state.closed or not is_lost_transport(read_failure(error)):
            return error
        method, request = self._flow.codec.probe()
        rpc = link.unary(method)(
            request,
            timeout=min(self._state.config.timeout, _REASON_SECONDS),
            metadata=call_metadata(self._state.config, self.request_id),
        )
        reason = await end_of(rpc)
        return error if reason is None or not _is_refusal(reason) else reason


class _Call:
    """One call, its channel and its tasks."""

    def __init__(self, link: Link, method: Method, metadata: list[tuple[str, str]]) -> None:
        self.link = link
        self.outbox: asyncio.Queue[Any] = asyncio.Queue()  # None half-closes
        self.rpc: Any = link.stream(method)(metadata=metadata)
        self.tasks: list[asyncio.Task[None]] = []
        link.calls.add(self.rpc)

    def close(self) -> None:
        """Cancel it if it still runs, and its tasks but the one that asks."""
        self.rpc.cancel()
        self.link.calls.discard(self.rpc)
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def write(self) -> None:
        """Send what comes into the outbox."""
        try:
            while (chunk := await self.outbox.get()) is not None:
                await self.rpc.write(chunk)
            await self.rpc.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call has ended, and who listens learns how
        except asyncio.CancelledError:
            self._raise_if_ours()

    async def read(self) -> Any:
        """The next reply, None at the end of the call, however it ended."""
        try:
            reply: Any = await self.rpc.read()
        except grpc.RpcError:
            return None  # its status says it all
        except asyncio.CancelledError:
            self._raise_if_ours()
            return None
        if reply is None:
            raise ServerError("a reply of the stream is no message of the contract")
        return None if reply is grpc.aio.EOF else reply

    def _raise_if_ours(self) -> None:
        """A call that was cut looks, to who reads or writes it, like a cancelled task."""
        if not self.rpc.done():
            raise asyncio.CancelledError


def _is_refusal(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server said so, and not the end of our patience or of a connection."""
    failure = read_failure(error)
    if failure.code is not None:
        return True
    return not failure.may_be_lost_transport and failure.status != "DEADLINE_EXCEEDED"


async def _each(items: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[object, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for number, item in enumerate(items, 1):
        yield item
        if number % _ITEMS_PER_TURN == 0:
            await asyncio.sleep(0)
