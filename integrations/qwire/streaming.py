"""Drives a `Flow` over a sync channel.

The caller's iterable is read by the consumer's own thread: whatever it raises comes out as it is,
database cursors stay in their thread, and no thread is left behind in a blocking iterator. A thread
of ours only listens, so that answers are handed out between two slow reads of the iterable.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc

from qwire.config import stream_metadata
from qwire.errors import QwireError
from qwire.exits import close_at_exit, see_out, see_out_call
from qwire.failures import read_failure
from qwire.forks import never_collect
from qwire.interrupt import LOOK_UP_SECONDS, uninterrupted
from qwire.state import Clock, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from qwire.channels import Link, Method
    from qwire.results import StreamItem
    from qwire.state import State
    from qwire.stream import Flow

_END = object()


def drive(
    state: State,
    open_link: Callable[[Link | None], Link],
    flow: Flow,
    items: Iterable[object],
) -> Generator[StreamItem, None, None]:
    """Send `items`, yield answers, in as many calls as it takes. Closing the generator cancels.

    Args:
        state: of the client.
        open_link: gives the channel; told a stale one, another.
        flow: decides.
        items: the caller's.

    Raises:
        StreamLostError: the server went away or fell silent, and none came back in time.
        QwireError: what the server said is wrong, or a reply that contradicts itself.
        Exception: the iterable's own.
    """
    wire = _Wire(state, open_link, flow)
    clock = wire.clock
    source = iter(items)
    try:
        while True:
            while (item := flow.next_item()) is not None:
                clock.stop()
                yield item
                clock.go_on()
            patience = flow.patience(clock.now())
            if wire.hear(0.0):
                pass
            elif flow.is_over:
                break
            elif flow.is_silent(clock.now()):
                wire.hang_up_silent()
            elif flow.wants_input:
                clock.stop()
                _pull(flow, source)
                clock.go_on()
            else:
                wire.hear(None if patience is None else max(patience, 0.0))
            wire.say()
        if error := flow.failure():
            raise error from wire.error
    finally:
        wire.hang_up()


def _pull(flow: Flow, source: Iterator[object]) -> None:
    item = next(source, _END)
    if item is _END:
        flow.end_input()
    else:
        flow.add(item)


class _Wire:
    """The call that runs, if one does; the flow says when there is to be another."""

    def __init__(self, state: State, open_link: Callable[[Link | None], Link], flow: Flow) -> None:
        self.clock = Clock()
        self.request_id = flow.request_id
        self.error: grpc.RpcError | None = None  # how the last call ended
        self._state = state
        self._open_link = open_link
        self._stale: Link | None = None
        self._flow = flow
        self._call: _Call | None = None

    def say(self) -> None:
        """Send what is due, in a new call if none runs."""
        now = self.clock.now()
        while (chunk := self._flow.take_chunk(now)) is not None:
            if self._call is None:
                self._call = self._open()
            self._call.outbox.put(chunk)
        if self._flow.take_half_close(now) and self._call is not None:
            self._call.outbox.put(None)

    def hear(self, seconds: float | None) -> bool:
        """Take one reply, or the end, if it comes within `seconds`, and within one look-up.

        None is as long as that.
        """
        seconds = LOOK_UP_SECONDS if seconds is None else min(seconds, LOOK_UP_SECONDS)
        if self._call is None:
            if seconds:
                time.sleep(seconds)
            return False
        try:
            is_reply, word = self._call.inbox.get(block=seconds != 0, timeout=seconds)
        except queue.Empty:
            return False
        if is_reply:
            self._receive(word)
        else:
            self._end(word)
        return True

    def _receive(self, reply: Any) -> None:
        self._state.reached = True
        try:
            self._state.check_same_model(self._flow.codec.options, reply)
            self._flow.receive(reply, self.clock.now())
        except QwireError as error:
            sign(error, self._state, self.request_id)
            raise

    def _end(self, error: Any) -> None:
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

    def hang_up_silent(self) -> None:
        """Cancel the call, because the server owes a word for too long."""
        if self._call is not None:
            self._stale = self._call.link
        self.hang_up()
        self.error = None
        self._flow.fall_silent(self.clock.now())

    def hang_up(self) -> None:
        """Cancel the call if it still runs, and see its threads out."""
        call, self._call = self._call, None
        if call is not None:
            call.close()

    def _open(self) -> _Call:
        metadata = stream_metadata(self._state.config, self._flow)
        link, self._stale = self._open_link(self._stale), None
        with self._state.closing_told():
            return _Call(link, self._flow.codec.method, metadata)


class _Call:
    """One call, and the thread that listens to it."""

    def __init__(self, link: Link, method: Method, metadata: list[tuple[str, str]]) -> None:
        self.link = link
        self._pid = os.getpid()
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None half-closes
        # Holds at most the answers to a window of texts. A reply, or the end: None or its error.
        self.inbox: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        stub = link.stream(method)
        with uninterrupted():
            self._call = stub(self._chunks(), metadata=metadata)
            link.calls.add(self._call)
        self._listener = threading.Thread(target=self._listen, name="qwire-stream", daemon=True)
        self._listener.start()
        see_out(self._listener)
        see_out_call(self._call)
        close_at_exit(self)

    def _chunks(self) -> Iterator[Any]:
        see_out(threading.current_thread())  # gRPC's own
        yield from iter(self.outbox.get, None)

    def close(self) -> None:
        """Cancel it if it still runs, and see the threads out."""
        if os.getpid() != self._pid:
            never_collect(self._call)  # the parent's
            return
        self.outbox.put(None)  # gRPC's own thread waits there
        with uninterrupted():
            self._call.cancel()
        self.link.calls.discard(self._call)
        # A generator may be closed by the collector, in any thread.
        if self._listener is not threading.current_thread():
            self._listener.join()

    def _listen(self) -> None:
        try:
            for reply in self._call:
                self.inbox.put((True, reply))
        except grpc.RpcError as error:
            self.inbox.put((False, error))
        else:
            self.inbox.put((False, None))
