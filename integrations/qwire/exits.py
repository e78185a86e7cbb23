"""What is to be done before Python ends, while gRPC's threads can still do their part.

Python's end stops daemon threads wherever they are. One of gRPC's that has a call's lock then keeps
it, and whoever cancels or collects that call afterwards waits for ever. Seen in one of ten programs
that left a stream open to their end, and in a command that cancelled its stream at its very end
while the machine stood still for a moment. So what is open is closed before, and the threads are
seen out.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import Any, Protocol

# Who takes longer is left to Python: an end that may hang is better than one that does.
_PATIENCE_SECONDS = 5.0


class Closable(Protocol):
    """What is closed at exit, once more if need be."""

    def close(self) -> None:
        """Cancel all that is under way."""


# Plain sets, because their copies are made in one step, whatever other threads add.
_closables: set[weakref.ref[Closable]] = set()
_threads: set[weakref.ref[threading.Thread]] = set()
_under_way: set[object] = set()  # an object for each call that gRPC has not told the end of


def close_at_exit(closable: Closable) -> None:
    """Close it when Python ends, if it still lives by then."""
    _closables.add(weakref.ref(closable, _closables.discard))


def see_out(thread: threading.Thread) -> None:
    """Wait for this thread, which uses calls, when Python ends."""
    _threads.add(weakref.ref(thread, _threads.discard))


def see_out_call(call: Any) -> None:
    """Wait for the end of this call, and for gRPC's thread that tells it, when Python ends."""
    mark = object()
    _under_way.add(mark)

    def told() -> None:
        see_out(threading.current_thread())
        _under_way.discard(mark)

    if not call.add_callback(told):
        _under_way.discard(mark)


def _leave() -> None:
    for closable in _living(_closables):
        closable.close()
    ends = time.monotonic() + _PATIENCE_SECONDS
    while _under_way and time.monotonic() < ends:
        time.sleep(0.001)
    for thread in _living(_threads):
        thread.join(max(0.0, ends - time.monotonic()))


def _living(references: set[weakref.ref[Any]]) -> list[Any]:
    return [living for reference in list(references) if (living := reference()) is not None]


atexit.register(_leave)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    # What the parent has open ends in the parent.
    for _each in (_closables, _threads, _under_way):
        os.register_at_fork(after_in_child=_each.clear)
