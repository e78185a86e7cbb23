"""The tokens of a text one by one, with their places in it. Knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Encoding, Tokenizer


_LARGEST_ID = 2**32 - 1  # that the Rust library can be asked for


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


class Spelled:
    """The tokens of one text, taken a part at a time: a long text has hundreds of thousands.

    Args:
        text: the text.
        encoding: encoding of the text, with offsets in characters.
    """

    def __init__(self, text: str, encoding: Encoding) -> None:
        self._text = text
        self._encoding = encoding
        self._parts: tuple[list[Any], ...] = ()
        self._at: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self._encoding)

    def tokens(self, first: int, last: int) -> list[Token]:
        """Those from one place to another; the first call takes longest."""
        if not self._parts:
            e = self._encoding
            self._parts = (e.ids, e.tokens, e.special_tokens_mask, e.offsets)
            self._at = _byte_offsets(self._text)
        text, at = self._text, self._at
        parts = zip(*(part[first:last] for part in self._parts), strict=True)
        return [
            Token(token, name, special=True, start=None, stop=None)
            if special
            else Token(token, text[start:stop], special=False, start=at[start], stop=at[stop])
            for token, name, special, (start, stop) in parts
        ]


def spell(rust: Tokenizer, texts: Sequence[str], *, special: bool) -> list[Spelled]:
    """Tokens of each text; those that the tokenizer puts around it only if asked for."""
    encodings = rust.encode_batch(texts, add_special_tokens=special)
    return [Spelled(text, e) for text, e in zip(texts, encodings, strict=True)]


def join(rust: Tokenizer, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
    """Texts of token ids.

    Raises:
        InvalidRequest: the tokenizer has no such id; the list and the position in it are named.
    """
    used = set().union(*ids)
    unknown = {i for i in used if not 0 <= i <= _LARGEST_ID or rust.id_to_token(i) is None}
    for index, row in enumerate(ids if unknown else ()):
        for position, one in enumerate(row):
            if one in unknown:
                raise InvalidRequest(
                    f"token id {one} at position {position} of list {index} is not in the "
                    f"vocabulary, which has {rust.get_vocab_size()} entries",
                    index=index,
                )
    texts: list[str] = rust.decode_batch(ids, skip_special_tokens=skip_special)
    return texts


def _byte_offsets(text: str) -> Sequence[int]:
    """Where each character begins in UTF-8, and where the last one ends."""
    if text.isascii():
        return range(len(text) + 1)
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    widths = 1 + sum((points >= first).astype(np.int64) for first in (0x80, 0x800, 0x10000))
    offsets: list[int] = np.concatenate([[0], np.cumsum(widths)]).tolist()
    return offsets
