"""BM25 over a list of texts, and queries to try it with: for the two hybrid examples."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from rank_bm25 import BM25Okapi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COMMON = 0.05  # words in a larger share of the texts say nothing about any of them
# What people type word for word, and the articles that hold it.
EXACT = {
    "ndots:5": "dns-ndots",
    "exit code 137": "oomkilled",
    "413": "ingress-body-size",
    "PodDisruptionBudget": "pdb-blocks-drain",
    "ReadWriteOnce": "volume-multi-attach",
}


class Keywords:
    """Finds texts by the rare words that they share with a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        split = [words(text) for text in texts]
        counts = Counter(word for each in split for word in set(each))
        self._rare = {word for word, count in counts.items() if count <= COMMON * len(texts)}
        self._bm25 = BM25Okapi([self._keep(each) for each in split])

    def best(self, query: str) -> dict[int, float]:
        """Positions and scores of the three best texts, or of those that share a word at all."""
        scores = self._bm25.get_scores(self._keep(words(query)))
        best = (-scores).argsort(kind="stable")[:3]
        return {int(i): float(scores[i]) for i in best if scores[i] > 0}

    def _keep(self, split: Sequence[str]) -> list[str]:
        return [word for word in split if word in self._rare]


def words(text: str) -> list[str]:
    """Words in lower case; `ndots:5` stays one."""
    return re.findall(r"\w+(?:[:._-]\w+)*", text.lower())


def judge(wanted: Mapping[str, str], rank: Callable[[str], Sequence[str]]) -> str:
    """For how many queries the right article comes first, and among three."""
    found = [(rank(query)[:3], name) for query, name in wanted.items()]
    num_first = sum(names[:1] == [name] for names, name in found)
    return f"{num_first}, {sum(name in names for names, name in found)} of {len(wanted)}"
