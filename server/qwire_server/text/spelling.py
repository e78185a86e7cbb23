"""The tokens of a text one by one, with their places in it. Knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Encoding


class Token(NamedTuple):
    """One token.

    Attributes:
        text: the part of the text that it stands for; a special token's name.
        start, stop: in bytes of the text in UTF-8; None for a token that is not part of it.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def spelled(text: str, encoding: Encoding) -> list[Token]:
    """The tokens of a text that was encoded with offsets in characters."""
    at = _byte_offsets(text)
    parts = zip(
        encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True
    )
    return [
        Token(token, name, special=True, start=None, stop=None)
        if special
        else Token(token, text[start:stop], special=False, start=at[start], stop=at[stop])
        for token, name, special, (start, stop) in parts
    ]


def _byte_offsets(text: str) -> Sequence[int]:
    """Where each character begins in UTF-8, and where the last one ends."""
    if text.isascii():
        return range(len(text) + 1)
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    widths = 1 + sum((points >= first).astype(np.int64) for first in (0x80, 0x800, 0x10000))
    offsets: list[int] = np.concatenate([[0], np.cumsum(widths)]).tolist()
    return offsets
