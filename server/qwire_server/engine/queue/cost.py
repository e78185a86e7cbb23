"""What work costs: device time, in whole microseconds.

    forward(lengths) = fixed + per_token * sum(n) + per_square * sum(n * n)

The square is attention's part. The three figures are measured at warm-up, and each follows what
batches take from then on. Of a text whose first tokens were computed before, those count as keys
only: `n - saved` for `n`, and `(n - saved) * n` for its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 0.1  # of the way from estimate to measurement, at each forward
# Other work on a machine only ever adds time. So a forward that is so much faster than its estimate
# tells of a device that was disturbed when it was measured, and is believed sooner.
_MUCH_FASTER = 0.6
_BIG_STEP = 0.5
_MOST_OFF = 4.0  # times: a forward further off than that was stalled by something else
_MEMORY = 0.95  # weight of the past in `accuracy`: about twenty forwards
_SHORT = 8
_MIDDLE = 64
_ROUNDS = 5
_ENOUGH_US = 250_000  # a measuring forward that takes longer is long enough
_BUDGET_US = 1_000_000  # of all measuring forwards together, but for the first two rounds
# Attention alone costs as much as all the rest at this many tokens or more. Counted in operations
# that is at 6 times the hidden size of an encoder: at 2,304 for the smallest served here.
_LEAST_CROSSING = 256


@dataclass(slots=True)
class CostModel:
    """Device time of texts, for one model on one device.

    Attributes:
        fixed: microseconds of any forward, however small.
        per_token: microseconds.
        per_square: microseconds for each squared token of a text.
        accuracy: measured by estimated time of late; 1 if the estimates are right.
        reuse: of the tokens that might be computed before, the part that was, of late.
    """

    fixed: float = 0.0
    per_token: float = 1.0
    per_square: float = 0.0
    accuracy: float = 1.0
    reuse: float = 0.0

    def text(self, tokens: int, prefix: int = 0) -> int:
        """Microseconds that a text of so many tokens adds to a forward; at least 1.

        Args:
            tokens: all of them.
            prefix: those of them that it shares with others, and that may be computed before.
        """
        computed = tokens - self.reuse * min(prefix, tokens)
        return max(1, round(computed * (self.per_token + self.per_square * tokens)))

    def forward(self) -> int:
        """Microseconds of a forward before its first text."""
        return round(self.fixed)

    def learn(self, lengths: list[int], measured: int, saved: list[int] | None = None) -> None:
        """A forward of these texts, but for the tokens `saved` of each, took so many microseconds.

        Each figure moves by its share of the estimate, so that forwards of many kinds tell them
        apart, and forwards of one kind move their sum.
        """
        computed = [n - s for n, s in zip(lengths, saved, strict=True)] if saved else lengths
        squares = sum(n * keys for n, keys in zip(computed, lengths, strict=True))
        parts = (self.fixed, self.per_token * sum(computed), self.per_square * squares)
        estimate = max(sum(parts), 1.0)
        ratio = min(max(measured / estimate, 1 / _MOST_OFF), _MOST_OFF)
        self.accuracy = _MEMORY * self.accuracy + (1 - _MEMORY) * ratio
        shares = [part / estimate for part in parts]
        step = (
            (_BIG_STEP if ratio < _MUCH_FASTER else _STEP)
            * (ratio - 1)
            / max(sum(share * share for share in shares), 1e-9)
        )
        self.fixed *= 1 + step * shares[0]
        self.per_token *= 1 + step * shares[1]
        self.per_square *= 1 + step * shares[2]

    def learn_reuse(self, prefixes: int, saved: int) -> None:
        """Of so many tokens that texts of a forward were likely to share, so many were saved."""
        if prefixes:
            self.reuse += _STEP * (saved / prefixes - self.reuse)


def calibrate(run: Callable[[list[int]], float], *, longest: int) -> CostModel:
    """Measure a model: a forward of one short text, of many, and of a long one of as many tokens.

    They take turns, and the fastest of each counts: what else the machine does only adds.

    Args:
        run: runs texts of these lengths and returns seconds.
        longest: tokens of the longest forward to try; on a slow device the forwards stay shorter.
    """
    run([_SHORT])  # whatever the first forward sets up is not what forwards cost
    tokens = min(_MIDDLE, longest)
    while tokens * 2 <= longest and run([tokens]) * 1e6 < _ENOUGH_US:
        tokens *= 2
    count = max(1, tokens // _MIDDLE)
    length = tokens // count
    shapes = {"short": [_SHORT], "many": [length] * count}
    if count > 1:
        shapes["long"] = [count * length]
    best = dict.fromkeys(shapes, float("inf"))
    spent = 0.0
    for number in range(_ROUNDS):
        for name, lengths in shapes.items():
            took = run(lengths) * 1e6
            best[name] = min(best[name], took)
            spent += took
        if number and spent > _BUDGET_US:
            break
    return _solve(best["short"], best["many"], best.get("long", best["many"]), count, length)


def _solve(short: float, many: float, long: float, count: int, length: int) -> CostModel:
    """Three forwards, three unknowns; noise may not make any of them absurd.

    Args:
        short: microseconds of one text of `_SHORT` tokens.
        many: of `count` texts of `length` tokens.
        long: of one text of as many tokens.
        count: see `many`.
        length: see `many`.
    """
    tokens = count * length
    least = many / (10 * tokens)  # a forward that fills a device is not all overhead
    squares = tokens * tokens - count * length * length
    per_square = max(0.0, (long - many) / squares) if squares else 0.0
    per_square = min(per_square, many / tokens / _LEAST_CROSSING)
    rest = many - short - per_square * (count * length * length - _SHORT * _SHORT)
    per_token = max(rest / max(1, tokens - _SHORT), least, 1e-3)
    fixed = max(0.0, short - per_token * _SHORT - per_square * _SHORT * _SHORT)
    return CostModel(fixed, per_token, per_square)
