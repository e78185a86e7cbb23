"""What a tokenizer gives: the ids of some texts, and what became of each text."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.errors import RequestError


@dataclass(slots=True)
class Encoded:
    """Token ids of some texts, in their order; a text that was refused has an empty array.

    Attributes:
        ids: one int32 array for each text, prompt and special tokens included.
        cut: tokens left out of each text.
        unknown: tokens of each text that the tokenizer has no entry for.
        errors: what is wrong with a text, by its position.
        shared: so many ids at the beginning are the same in all texts, as far as is known.
    """

    ids: list[NDArray[np.int32]] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    errors: dict[int, RequestError] = field(default_factory=dict)
    shared: int = 0

    @property
    def tokens(self) -> list[int]:
        """Tokens that are computed for each text."""
        return [len(ids) for ids in self.ids]

    def extend(self, other: Encoded) -> None:
        """Append texts; their errors are moved to their new positions."""
        for index, error in other.errors.items():
            moved = len(self.ids) + index
            self.errors[moved] = copy.copy(error)
            self.errors[moved].index = moved
        self.shared = min(self.shared, other.shared) if self.ids else other.shared
        self.ids += other.ids
        self.cut += other.cut
        self.unknown += other.unknown
