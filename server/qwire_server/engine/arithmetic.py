"""How many floating-point operations a forward takes, by the lengths of its texts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Of one model; products of matrices only, which is nearly all that it does.

    Attributes:
        per_token: of its layers' weights.
        per_square: of attention, times the square of a text's tokens.
    """

    per_token: float
    per_square: float

    def flops(self, tokens: Sequence[int], saved: Sequence[int] = ()) -> float:
        """Of one forward.

        Args:
            tokens: of each text.
            saved: those of each text, its first ones, that were known and not computed.
        """
        pairs = list(zip_longest(tokens, saved, fillvalue=0))
        linear = sum(n - s for n, s in pairs)
        squares = sum(n * n - s * s for n, s in pairs)
        return self.per_token * linear + self.per_square * squares


UNKNOWN = Arithmetic(0.0, 0.0)
