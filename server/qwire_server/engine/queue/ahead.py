"""When the next batch may be launched, while others are still on the device.

A batch that is formed late holds what came late, so it is fuller and a question waits less; one
that is formed too late leaves the device without work. So: as late as the device allows.
"""

from __future__ import annotations

from collections import deque

DEPTH = 2  # one that computes, one behind it
_MARGIN = 500  # microseconds: estimates and threads are not exact
_STEP = 0.2  # of the way from the lead so far to the last launch
_TIMES = 2  # launches vary


class Ahead:
    """What was launched and is not finished; all times in microseconds."""

    def __init__(self) -> None:
        self._costs: deque[int] = deque()
        self._free_at = 0
        self._launch = 0.0

    def __repr__(self) -> str:
        return f"<Ahead {len(self._costs)} launched, lead {self.lead} us>"

    @property
    def lead(self) -> int:
        """How long before the device is free the next launch begins."""
        return round(_TIMES * self._launch) + _MARGIN

    def launched(self, began: int, returned: int, cost: int) -> None:
        """A batch of this estimated cost was launched, which took from `began` to `returned`."""
        self._free_at = began + self.remaining(began) + cost
        self._costs.append(cost)
        self._launch += _STEP * (returned - began - self._launch)

    def finished(self, ended: int) -> None:
        """The oldest one is done."""
        self._costs.popleft()
        self._free_at = ended + sum(self._costs)

    def remaining(self, now: int) -> int:
        """Device time that is launched and not yet done, as estimated."""
        return max(0, self._free_at - now) if self._costs else 0

    def delay(self, now: int) -> int | None:
        """Until the next launch; None: not before one is finished."""
        if len(self._costs) >= DEPTH:
            return None
        return max(0, self.remaining(now) - self.lead)
