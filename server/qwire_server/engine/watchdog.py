"""Notices that the engine has work and gets nowhere: a forward that never returns, say.

Knows nothing about batches; what is to be done then is told to it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.engine.inflight import Progress

_TIMES = 20  # an honest batch has been seen to take four times its estimate
_LOOKS = 20  # until it is sure, so that it is late by a twentieth at most
_MOST_SECONDS = 1.0  # between two looks


class Patience:
    """Adds up how long nothing moved. Time that this process was stopped or starved is not counted.

    Args:
        seconds: without progress that are too many, whatever was expected.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pause = min(_MOST_SECONDS, seconds / _LOOKS)
        self._moves = -1
        self._quiet = 0.0

    def is_over(self, progress: Progress, elapsed: float) -> bool:
        """Look at the engine, `elapsed` seconds after the last look."""
        if not progress.busy or progress.moves != self._moves:
            self._moves, self._quiet = progress.moves, 0.0
            return False
        # Who looks late was stopped (SIGSTOP, a frozen container), and so was the engine.
        self._quiet += min(elapsed, 2 * self.pause)
        return self._quiet > max(self.seconds, _TIMES * progress.cost / 1e6)


class Watchdog:
    """A thread that looks at the engine until it is closed, or told that the engine is stuck.

    Args:
        look: at the engine.
        seconds: see `Patience`.
        stuck: called once, with the reason.
    """

    def __init__(
        self, look: Callable[[], Progress], seconds: float, stuck: Callable[[str], None]
    ) -> None:
        self._look = look
        self._patience = Patience(seconds)
        self._stuck = stuck
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="qwire-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(self._patience.pause):
            now = time.monotonic()
            elapsed, last = now - last, now
            if self._patience.is_over(self._look(), elapsed):
                self._stuck(
                    f"the device made no progress for {self._patience.seconds:g} s or more, "
                    "with work in flight (--stall-seconds)"
                )
                return
