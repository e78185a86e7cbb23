"""Interleaved rounds: A B C, A B C, ... so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FEWEST_ROUNDS = 3


def interleave(
    ways: Mapping[str, Callable[[], int]], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Run each way once a round; its rate (things a second) in each round.

    Args:
        ways: each does its things, and returns how many.
        rounds: most of them.
        seconds: no round begins that would likely end later, once there are three.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    began = time.monotonic()
    for number in range(rounds):
        spent = time.monotonic() - began
        if number >= _FEWEST_ROUNDS and spent * (number + 1) / number > seconds:
            break
        for name, way in ways.items():
            before = time.perf_counter()
            done = way()
            rates[name].append(done / (time.perf_counter() - before))
    return rates


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and the rounds themselves, at four digits."""
    return {
        "median": digits(statistics.median(values)),
        "min": digits(min(values)),
        "max": digits(max(values)),
        "rounds": [digits(value) for value in values],
    }


def ratio(these: Sequence[float], those: Sequence[float]) -> dict[str, Any]:
    """How many times as fast, round by round."""
    return spread([this / that for this, that in zip(these, those, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return digits(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])


def digits(value: float) -> float:
    """Four of them: more would be noise."""
    return float(f"{value:.4g}")
