"""Ctrl-C: held back while it would break gRPC's channel, and never missed for long."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The longest wait in one piece. A Ctrl-C that comes between Python's last look and the start of a
# wait is seen at the wait's end (seen once in a loaded test run); on Windows each one is.
LOOK_UP_SECONDS = 1.0


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Around what we do with a call, but not around waiting for it; Ctrl-C is raised at its end.

    KeyboardInterrupt strikes between any two steps. Between "the channel's thread runs" and its
    start, or with a lock just taken, it leaves a channel on which every later call hangs, and
    `close` too (seen in a loop of short calls). Only Python's own handler in its thread does that.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
