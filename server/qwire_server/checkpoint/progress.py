"""How far a start has come. Written by the threads that load, read by any other.

Knows nothing about where the bytes come from. Where no bar is drawn, a log line now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger("qwire.server")
_LINE_SECONDS = 5.0  # often enough to see that it moves, seldom enough for a log
_MB = 1_000_000
LOADING = "the model is still loading"


class Progress:
    """The state of one start, as a sentence.

    Args:
        bars: whether whoever downloads draws bars on the terminal; log lines otherwise.
        clock: seconds that only grow.
    """

    def __init__(self, *, bars: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.bars = bars
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._what = ""  # the model that is being downloaded, if one is
        self._received = 0  # bytes
        self._total = 0  # bytes; grows as the sizes of files become known
        self._began = self._told_at = 0.0

    def __str__(self) -> str:
        """What a caller is told meanwhile."""
        with self._lock:
            if not self._what:
                return LOADING
            return f"the model is being downloaded: {self._amount()}"

    def begin(self, what: str) -> None:
        """Downloading of `what` begins, or so it may: a cache answers without a byte."""
        with self._lock:
            self._what, self._received, self._total = what, 0, 0
            self._began = self._told_at = self._clock()

    def expect(self, total: int) -> None:
        """So many bytes are known to be needed, those already here included."""
        with self._lock:
            self._total = total

    def expect_more(self, num_bytes: int) -> None:
        """So many bytes are needed besides those known of."""
        with self._lock:
            self._total += num_bytes

    def received(self, num_bytes: int) -> None:
        """So many more bytes have arrived; negative when some have to be fetched again."""
        with self._lock:
            self._received += num_bytes
            now = self._clock()
            if self.bars or now - self._told_at < _LINE_SECONDS:
                return
            self._told_at = now
            _LOG.info("downloading %s: %s, %s", self._what, self._amount(), self._speed(now))

    def end(self) -> None:
        """Everything is here."""
        with self._lock:
            if self._received and not self.bars:
                now = self._clock()
                _LOG.info("downloaded %s: %s, %s", self._what, self._amount(), self._speed(now))
            self._what = ""

    def _amount(self) -> str:
        if self._total < _MB:  # the sizes of the weights come last
            return "its size is not yet known"
        share = 100 * self._received // self._total
        return f"{self._received / _MB:.0f} of {self._total / _MB:.0f} MB ({share} %)"

    def _speed(self, now: float) -> str:
        return f"{self._received / _MB / max(now - self._began, 1e-3):.1f} MB/s"
