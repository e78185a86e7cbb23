"""How requests say what is cut from a text that is too long: a word, or a flag and a direction."""

from __future__ import annotations

from typing import Literal, TypeAlias

from qwire_server.errors import InvalidRequest
from qwire_server.text.tokenizer import Truncate

Direction: TypeAlias = Literal["Left", "left", "Right", "right"]


def by_word(word: str | None) -> Truncate:
    """Ours, in any case: end, start, none; None means end.

    Raises:
        InvalidRequest: it is another word.
    """
    try:
        return Truncate[(word or "end").upper()]
    except KeyError:
        raise InvalidRequest("`truncate` may be one of end, start, none") from None


def by_direction(wanted: bool | None, direction: Direction) -> Truncate:
    """text-embeddings-inference's, which cuts by default over HTTP (`--auto-truncate`)."""
    if wanted is False:
        return Truncate.NONE
    return Truncate.START if direction.lower() == "left" else Truncate.END
