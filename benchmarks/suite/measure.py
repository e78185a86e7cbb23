"""From what happened when to a rate and its percentiles. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_PART = 1 / 8  # of the tokens: batches fill, the first texts are tokenised


def steady(answers: Sequence[tuple[float, int]], batches: int, warm: float = WARM_PART) -> float:
    """Tokens a second once a stream runs, from the end of one batch to that of the last.

    Answers come in bursts, one a batch. The clock starts where a burst ends, so that no batch is
    counted without the time that it took.

    Args:
        answers: (seconds, tokens) of each, in their order; at least two.
        batches: that they came from.
        warm: part of the tokens after which the clock may start.
    """
    total, done = sum(tokens for _, tokens in answers), 0
    pause = (answers[-1][0] - answers[0][0]) / max(1, batches) / 2
    start: tuple[float, int] | None = None  # when, and what was done by then
    for (now, tokens), (after, _) in itertools.pairwise(answers):
        done += tokens
        if done >= total * warm and (start is None or after - now >= pause):
            start = (now, done)
            if after - now >= pause or done > total / 2:  # too few answers to tell bursts apart
                break
    began, before = start or answers[0]
    return (total - before) / max(answers[-1][0] - began, 1e-9)


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of times; empty if there are none."""
    if not seconds:
        return {}
    return {f"p{p}": percentile([s * 1000 for s in seconds], p) for p in (50, 90, 99)}


def rates(texts: int, tokens: int, seconds: float) -> dict[str, Any]:
    """Both in one second."""
    return {
        "texts": texts,
        "tokens": tokens,
        "seconds": digits(seconds),
        "texts_per_second": digits(texts / seconds),
        "tokens_per_second": digits(tokens / seconds),
    }
