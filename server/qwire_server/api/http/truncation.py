"""How requests say what is cut from a text that is too long: a word, or a flag and a direction."""

from __future__ import annotations

from typing import Literal, TypeAlias

from qwire_server.errors import InvalidRequest
from qwire_server.text.tokenizer import Truncate

Direction: TypeAlias = Literal["Left", "left", "Right", "right"]
Side: TypeAlias = Literal["left", "right"]


def by_word(word: str | bool | None) -> Truncate | None:
    """Ours, in any case: end, start, none; or Jina's and Voyage's flag, where true means end.

    Raises:
        InvalidRequest: it is another word.
    """
    if word is None:
        return None
    if isinstance(word, bool):
        return Truncate.END if word else Truncate.NONE
    try:
        return Truncate[word.upper()]
    except KeyError:
        raise InvalidRequest("`truncate` may be one of end, start, none") from None


def by_direction(wanted: bool | None, direction: Direction | None) -> Truncate:
    """text-embeddings-inference's, which cuts by default over HTTP (`--auto-truncate`)."""
    if wanted is False:
        return Truncate.NONE
    return Truncate.START if (direction or "right").lower() == "left" else Truncate.END


def by_tokens(tokens: int | None, side: Side | None) -> Truncate | None:
    """vLLM's, which keeps the last tokens of a text unless the side says otherwise.

    Raises:
        InvalidRequest: it asks for a limit of its own.
    """
    if tokens not in {None, -1}:
        raise InvalidRequest(
            "`truncate_prompt_tokens` may be -1, the model's own limit: another one is set for all "
            "requests by --max-tokens"
        )
    if tokens is None and side is None:
        return None
    return Truncate.END if side == "right" else Truncate.START
