"""What clients saw of their texts: each is answered once, with its own vector, or has an error."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from support.fault_model import expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self


@dataclass
class Tally:
    """Counts of texts, but for `calls` and `streams`.

    Attributes:
        right: answered with their own vector.
        told: an exception, or an error of its own, said that there is no vector; by its type.
        lost: neither answered nor told.
        duplicated: answered more than once.
        wrong: answered with another vector than their own.
    """

    calls: int = 0
    streams: int = 0
    asked: int = 0
    right: int = 0
    told: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0

    def __iadd__(self, other: Tally) -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def as_json(self) -> str:
        """For `of_json`, elsewhere."""
        return json.dumps(vars(self))

    @classmethod
    def of_json(cls, text: str) -> Tally:
        """What `as_json` wrote."""
        counts = json.loads(text)
        return cls(**{**counts, "told": Counter(counts["told"])})

    def answered(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """A call returned."""
        self.lost += max(0, len(texts) - len(vectors))
        self.duplicated += max(0, len(vectors) - len(texts))
        good = _equal(vectors[: len(texts)], texts[: len(vectors)])
        self.right += good
        self.wrong += min(len(texts), len(vectors)) - good

    def failed(self, error: BaseException, texts: int) -> None:
        """So many texts have no vector, and their caller knows."""
        self.told[type(error).__name__] += texts


class StreamTally:
    """One stream, whose ids are positions in `texts`.

    Args:
        tally: that it is added to, by `end`.
        texts: all that may be sent.
    """

    def __init__(self, tally: Tally, texts: Sequence[str]) -> None:
        self._tally = tally
        self._texts = texts
        self._seen: Counter[int] = Counter()
        self._ids: list[int] = []
        self._vectors: list[NDArray[np.float32]] = []

    def take(self, number: int, vector: NDArray[np.float32] | None, error: object) -> None:
        """One item came."""
        self._seen[number] += 1
        if isinstance(error, BaseException):
            self._tally.failed(error, 1)
        else:
            assert vector is not None
            self._ids.append(number)
            self._vectors.append(vector)

    def end(self, error: BaseException | None = None) -> None:
        """The stream is over; with an error, its caller knows that the rest has no vectors."""
        tally, sent = self._tally, len(self._texts)
        tally.streams += 1
        tally.asked += sent
        tally.duplicated += sum(count - 1 for count in self._seen.values())
        if error is None:
            tally.lost += sent - len(self._seen)
        else:
            tally.failed(error, sent - len(self._seen))
        if self._ids:
            good = _equal(np.stack(self._vectors), [self._texts[i] for i in self._ids])
            tally.right += good
            tally.wrong += len(self._ids) - good


def _equal(vectors: NDArray[np.float32], texts: Sequence[str]) -> int:
    """How many vectors are those of their texts."""
    if not len(texts):
        return 0
    return int(np.isclose(vectors, expected(texts), atol=1e-5).all(axis=1).sum())
