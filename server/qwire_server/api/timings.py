"""Where the time of a request goes: tokenising, waiting, computing."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one request.

    Attributes:
        tokenize: waiting for a tokeniser thread included.
        queue: between the tokeniser and the reply, less `compute`.
        compute: of the batches that held its texts.
    """

    tokenize: float = 0.0
    queue: float = 0.0
    compute: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        """Stage by stage."""
        return Timings(
            self.tokenize + other.tokenize,
            self.queue + other.queue,
            self.compute + other.compute,
        )

    def total(self) -> float:
        """Seconds from the tokeniser to the reply."""
        return self.tokenize + self.queue + self.compute


NO_TIME = Timings()


class Stopwatch:
    """Runs from its creation."""

    def __init__(self) -> None:
        self._began = self._encoded = time.monotonic()

    def encoded(self) -> None:
        """The texts are tokenised."""
        self._encoded = time.monotonic()

    def stop(self, seconds: float) -> Timings:
        """The texts are computed, in batches that took `seconds`."""
        after = time.monotonic() - self._encoded
        compute = min(seconds, after)
        return Timings(self._encoded - self._began, after - compute, compute)
