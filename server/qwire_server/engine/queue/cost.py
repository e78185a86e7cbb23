"""What work costs: device time, in whole microseconds.

    forward(lengths) = scale * (fixed + per_token * sum(n) + per_square * sum(n * n))

The square is attention's part. The three figures are measured once, at warm-up; `scale` follows
what batches really take from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY = 0.9  # weight of the past in `scale`: about ten batches
_STEP = 4.0  # one stalled batch may not move the scale by more than this would
_SCALE_RANGE = (0.05, 20.0)
_SHORT = 8
_MIDDLE = 64
_REPEATS = 3
_ENOUGH_US = 250_000  # a measuring forward that takes longer is long enough


@dataclass(slots=True)
class CostModel:
    """Device time of texts, for one model on one device.

    Attributes:
        fixed: microseconds of any forward, however small.
        per_token: microseconds.
        per_square: microseconds for each squared token of a text.
        scale: measured by estimated time, followed while serving.
    """

    fixed: float = 0.0
    per_token: float = 1.0
    per_square: float = 0.0
    scale: float = 1.0

    def text(self, tokens: int) -> int:
        """Microseconds that a text of so many tokens adds to a forward; at least 1."""
        square = self.per_square * tokens
        return max(1, round(self.scale * tokens * (self.per_token + square)))

    def forward(self) -> int:
        """Microseconds of a forward before its first text."""
        return round(self.scale * self.fixed)

    def learn(self, lengths: list[int], measured: int) -> None:
        """A forward of these texts took so many microseconds."""
        squares = sum(n * n for n in lengths)
        expected = self.fixed + self.per_token * sum(lengths) + self.per_square * squares
        ratio = measured / max(expected, 1.0)
        ratio = min(max(ratio, self.scale / _STEP), self.scale * _STEP)
        low, high = _SCALE_RANGE
        self.scale = min(max(_MEMORY * self.scale + (1 - _MEMORY) * ratio, low), high)


def calibrate(run: Callable[[list[int]], float], *, longest: int) -> CostModel:
    """Measure a model: a forward of one short text, of many, and of a long one of as many tokens.

    Args:
        run: runs texts of these lengths and returns seconds.
        longest: tokens of the longest forward to try; on a slow device the forwards stay shorter.
    """
    run([_SHORT])  # whatever the first forward sets up is not what forwards cost
    short = _fastest(run, [_SHORT])
    tokens = min(_MIDDLE, longest)
    long = _fastest(run, [tokens])
    while tokens * 2 <= longest and long < _ENOUGH_US:
        tokens *= 2
        long = _fastest(run, [tokens])
    count = max(1, tokens // _MIDDLE)
    length = tokens // count
    many = _fastest(run, [length] * count)
    # many and long differ in their squares only, short and many in tokens as well.
    squares = tokens**2 - count * length**2
    per_square = max(0.0, (long - many) / squares) if squares else 0.0
    rest = many - short - per_square * (count * length**2 - _SHORT**2)
    per_token = max(rest / max(1, count * length - _SHORT), many / (10 * tokens), 1e-3)
    fixed = max(0.0, short - per_token * _SHORT - per_square * _SHORT**2)
    return CostModel(fixed, per_token, per_square)


def _fastest(run: Callable[[list[int]], float], lengths: list[int]) -> float:
    """Microseconds of the fastest of a few runs; of one, if that is slow."""
    best = run(lengths) * 1e6
    for _ in range(_REPEATS - 1):
        if best >= _ENOUGH_US:
            break
        best = min(best, run(lengths) * 1e6)
    return best
