"""How many refused calls a client may send again, so that an overload is never made worse.

Pure: the clock is the caller's. Answered calls earn a part of a retry each, time earns a few a
second; who has none left waits until one is earned.
"""

from __future__ import annotations

import threading

PER_SECOND = 5.0
PER_ANSWER = 0.5
MOST_SAVED = 20.0


class RetryBudget:
    """Of one client, for all of its threads."""

    def __init__(self) -> None:
        self._saved = MOST_SAVED  # below zero: retries that are promised to calls that wait
        self._since = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RetryBudget {self._saved:.1f}>"

    def answered(self) -> None:
        """A call succeeded."""
        with self._lock:
            self._saved = min(self._saved + PER_ANSWER, MOST_SAVED)

    def take(self, now: float, delay: float, latest: float) -> float | None:
        """Take a retry.

        Args:
            now: seconds.
            delay: seconds until the caller would send it.
            latest: seconds from now after which it is of no use.

        Returns:
            Seconds until it may be sent, at least `delay`; None if that is too late, and nothing
            was taken.
        """
        with self._lock:
            earned = PER_SECOND * max(0.0, now - self._since)
            self._saved, self._since = min(self._saved + earned, MOST_SAVED), now
            wait = max(delay, (1.0 - self._saved) / PER_SECOND)
            if wait >= latest:
                return None
            self._saved -= 1.0
            return wait
