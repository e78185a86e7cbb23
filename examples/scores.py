"""What rankings are worth, and whether two are the same. Pure arithmetic on plain data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# All articles of the corpus and their scores, best first.
Ranking = dict[str, float]


@dataclass(frozen=True)
class Quality:
    """Share of questions whose answer came first, or among three; mean of 1 / its rank."""

    top1: float
    top3: float
    mrr: float


def measure(rankings: Sequence[Ranking], answers: Sequence[Sequence[str]]) -> Quality:
    """Quality over all questions; `answers` are the labelled articles of each."""
    ranks = [rank_of(ranking, right) for ranking, right in zip(rankings, answers, strict=True)]
    return Quality(
        top1=sum(rank == 1 for rank in ranks) / len(ranks),
        top3=sum(rank <= 3 for rank in ranks) / len(ranks),
        mrr=sum(1 / rank for rank in ranks) / len(ranks),
    )


def best_first(names: Sequence[str], scores: Iterable[float]) -> Ranking:
    """Names by falling score, equal ones in their order."""
    pairs = zip(names, scores, strict=True)
    return {name: float(score) for name, score in sorted(pairs, key=lambda pair: -pair[1])}


def rank_of(ranking: Ranking, answers: Sequence[str]) -> int:
    """Place of the first labelled article, from 1."""
    return min(list(ranking).index(answer) for answer in answers) + 1


def largest_difference(one: Ranking, other: Ranking) -> float:
    """Between the two scores of an article; infinite if they do not rank the same articles."""
    if one.keys() != other.keys():
        return float("inf")
    return max(abs(score - other[name]) for name, score in one.items())


def same_order(one: Ranking, other: Ranking, tolerance: float) -> bool:
    """Whether the order of one is right by the scores of the other, up to ties."""
    return all(other[first] >= other[second] - tolerance for first, second in pairwise(one))
