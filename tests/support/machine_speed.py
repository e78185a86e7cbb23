"""How slow this machine is now, so that limits that only end a hang do not end a slow test."""

from __future__ import annotations

import os
import time
from functools import lru_cache

_IDLE_SECONDS = 0.01  # of the loop below, on one idle core of 2020 or later
_ROUNDS = 200_000
_MOST = 20.0  # a hang has to end some time
_VALID_SECONDS = 10.0  # load comes and goes, and a measurement takes a moment


def hang_limit(seconds: float) -> float:
    """Seconds after which a wait is taken for a hang.

    For limits that a working product never reaches. What a test asserts about times does not go
    through this.

    Args:
        seconds: limit on an idle machine.
    """
    return seconds * slowness(int(time.monotonic() / _VALID_SECONDS))


@lru_cache(maxsize=1)
def slowness(_: int = 0) -> float:
    """How many times as long things take as on an idle machine, 1 to 20.

    The larger of two: a loop that was timed, which also sees slow processors and quotas, and
    processes that want to run for each processor, which also sees what the loop was lucky to miss.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    waiting = load / _processors()
    return min(max(1.0, _loop_seconds() / _IDLE_SECONDS, waiting), _MOST)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _loop_seconds() -> float:
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        pass
    return time.perf_counter() - began
