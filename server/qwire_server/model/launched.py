"""A forward that was started: what the engine waits for. Without torch, so that the engine may."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ran:
    """A forward that has ended; its own `Launched`, for devices that do not run ahead.

    Attributes:
        rows: (texts, row dim) float32, in the order given.
        seconds: that the device worked on it.
        ended: microseconds on the monotonic clock.
        saved: tokens of each text that were not computed for it; empty if all were.
    """

    rows: NDArray[np.float32]
    seconds: float
    ended: int
    saved: list[int] = field(default_factory=list)

    def wait(self) -> Ran:
        """At once."""
        return self


class Launched(Protocol):
    """A forward on its way."""

    def wait(self) -> Ran:
        """Block until the device is done with it. Called once, by any thread.

        Raises:
            OutOfMemory: a smaller batch may fit.
            DeviceLost: nothing will run any more.
            Exception: anything else is blamed on a text.
        """


def timed(run: Callable[[], NDArray[np.float32]], saved: list[int] | None = None) -> Ran:
    """Run now, and take the time; for `saved` see `Ran`."""
    began = time.perf_counter()
    rows = run()
    return Ran(rows, time.perf_counter() - began, time.monotonic_ns() // 1000, saved or [])
