"""A model's name as tools send it: with a suffix that chooses the prompt. Pure."""

from __future__ import annotations

from qwire_server.errors import InvalidRequest
from qwire_server.text.prompts import InputType

# What other interfaces call the two sides, in lower case.
_SIDES = {
    "query": InputType.QUERY,
    "search_query": InputType.QUERY,
    "retrieval.query": InputType.QUERY,
    "retrieval_query": InputType.QUERY,
    "document": InputType.DOCUMENT,
    "passage": InputType.DOCUMENT,
    "search_document": InputType.DOCUMENT,
    "retrieval.passage": InputType.DOCUMENT,
    "retrieval_document": InputType.DOCUMENT,
    "none": InputType.NONE,
}
SIDES = ", ".join(_SIDES)
_SUFFIXES = {":query": InputType.QUERY, ":document": InputType.DOCUMENT}


def split(name: str) -> tuple[str, InputType | None]:
    """The name without its suffix, and the side that the suffix chooses."""
    for suffix, side in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], side
    return name, None


def side_of(field: str, word: str | None) -> InputType | None:
    """The side that a field names, in any case; None if it was left out.

    Raises:
        InvalidRequest: it names none.
    """
    if word is None:
        return None
    try:
        return _SIDES[word.lower()]
    except KeyError:
        raise InvalidRequest(
            f"`{field}` may be one of {SIDES}; for another task, say it in words as `instruction`"
        ) from None
