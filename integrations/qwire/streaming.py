"""Drives a `Flow` over a sync channel.

The caller's iterable is read by the consumer's own thread: whatever it raises comes out as it is,
database cursors stay in their thread, and no thread is left behind in a blocking iterator. A thread
of ours only listens, so that answers are handed out between two slow reads of the iterable.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc

from qwire.channels import EMBED_STREAM
from qwire.config import call_metadata
from qwire.errors import QwireError
from qwire.failures import read_failure
from qwire.interrupt import uninterrupted
from qwire.state import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from qwire.channels import Link
    from qwire.results import StreamItem
    from qwire.state import State
    from qwire.stream import Flow

_END = object()


def drive(
    state: State, open_link: Callable[[], Link], flow: Flow, items: Iterable[object]
) -> Generator[StreamItem, None, None]:
    """Send `items`, yield answers. Closing the generator cancels the call.

    Raises:
        StreamLostError: the stream ended early, or the server fell silent.
        QwireError: what the server said is wrong, or a reply that contradicts itself.
        Exception: the iterable's own.
    """
    wire = _Wire(state, open_link, flow)
    source = iter(items)
    try:
        while True:
            while (item := flow.next_item()) is not None:
                yield item
            patience = flow.patience(time.monotonic())
            if wire.hear(0.0):
                pass
            elif flow.is_over or (patience is not None and patience <= 0):
                break
            elif flow.wants_input:
                _pull(flow, source)
            else:
                wire.hear(patience)
            wire.say()
        if error := flow.failure(wire.request_id):
            state.check_open()
            raise error from wire.error
    finally:
        wire.close()


def _pull(flow: Flow, source: Iterator[object]) -> None:
    item = next(source, _END)
    if item is _END:
        flow.end_input()
    else:
        flow.add(item)


class _Wire:
    """The call, opened at the first chunk, and the thread that listens to it."""

    def __init__(self, state: State, open_link: Callable[[], Link], flow: Flow) -> None:
        self._state = state
        self._open_link = open_link
        self._link: Link | None = None
        self._flow = flow
        self.request_id = uuid.uuid4().hex
        self.error: grpc.RpcError | None = None
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None half-closes
        # Holds at most the answers to a window of texts. A reply, or the end: None or its error.
        self._inbox: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._call: Any = None
        self._listener: threading.Thread | None = None

    def say(self) -> None:
        """Send what is due."""
        now = time.monotonic()
        while (chunk := self._flow.take_chunk(now)) is not None:
            if self._call is None:
                self._open()
            self._outbox.put(chunk)
        if self._flow.take_half_close(now):
            self._outbox.put(None)

    def hear(self, seconds: float | None) -> bool:
        """Take one reply, or the end, if it comes within `seconds`; None waits for it."""
        try:
            is_reply, word = self._inbox.get(block=seconds != 0, timeout=seconds)
        except queue.Empty:
            return False
        if is_reply:
            self._state.reached = True
            try:
                self._flow.receive(word, time.monotonic())
            except QwireError as error:
                sign(error, self._state, self.request_id)
                raise
        else:
            self.error = word
            self._flow.end(None if word is None else read_failure(word))
        return True

    def close(self) -> None:
        """Cancel the call if it still runs, and see the threads out."""
        self._outbox.put(None)  # gRPC's own thread waits there
        if self._call is None or self._link is None:
            return
        with uninterrupted():
            self._call.cancel()
        self._link.calls.discard(self._call)
        # A generator may be closed by the collector, in any thread.
        if self._listener is not None and self._listener is not threading.current_thread():
            self._listener.join()

    def _open(self) -> None:
        self._link = self._open_link()
        stub = self._link.stream(EMBED_STREAM)
        metadata = call_metadata(self._state.config, self.request_id)
        with uninterrupted():
            self._call = stub(iter(self._outbox.get, None), metadata=metadata)
            self._link.calls.add(self._call)
        self._listener = threading.Thread(target=self._listen, name="qwire-stream", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        try:
            for reply in self._call:
                self._inbox.put((True, reply))
        except grpc.RpcError as error:
            self._inbox.put((False, error))
        else:
            self._inbox.put((False, None))
