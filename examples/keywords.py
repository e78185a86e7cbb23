"""BM25 over a list of texts, and queries to try it with: for the two hybrid examples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rank_bm25 import BM25Okapi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What people type word for word, and the articles that hold it.
EXACT = {
    "ndots:5": "dns-ndots",
    "exit code 137": "oomkilled",
    "413": "ingress-body-size",
    "PodDisruptionBudget": "pdb-blocks-drain",
    "ReadWriteOnce": "volume-multi-attach",
}


class Keywords:
    """Ranks texts by the words that they share with a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._bm25 = BM25Okapi([words(text) for text in texts])

    def rank(self, query: str) -> list[int]:
        """Positions of the texts that share a word with the query, best first."""
        scores = self._bm25.get_scores(words(query))
        return [int(i) for i in (-scores).argsort(kind="stable") if scores[i] > 0]


def words(text: str) -> list[str]:
    """Words in lower case; `ndots:5` stays one."""
    return re.findall(r"\w+(?:[:._-]\w+)*", text.lower())


def count_first(wanted: Mapping[str, str], rank: Callable[[str], Sequence[str]]) -> int:
    """How many queries put the article first that they want."""
    return sum(list(rank(query))[:1] == [name] for query, name in wanted.items())
