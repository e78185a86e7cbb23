"""The one clock of the queue: whole microseconds, monotonic."""

from __future__ import annotations

import time


def now() -> int:
    """Microseconds since some moment; `time.monotonic` counts from the same one."""
    return time.monotonic_ns() // 1000
