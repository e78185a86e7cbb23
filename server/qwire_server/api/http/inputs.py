"""What stands where a text is expected: texts, or token ids that become texts. Knows no route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import WithJsonSchema

from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Decode: TypeAlias = Callable[[Sequence[Sequence[int]]], Awaitable[list[str]]]

_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
# Told apart by `texts_of`, whose words are clearer than those of a union.
Input: TypeAlias = Annotated[Any, WithJsonSchema(_TEXTS)]
_NO_IDS = (
    "`{name}` holds token ids, this server takes texts. Ids of another model's tokenizer would "
    "give vectors that mean nothing. In LangChain's OpenAIEmbeddings set "
    "check_embedding_ctx_length=False; if they are ids of the served model's own tokenizer, start "
    "the server with --http-token-ids"
)

_NEITHER = "is neither a text nor a token id (whole numbers from 0)"
_IDS_AT_A_TIME = 64 * 1024  # about 2 ms


async def texts_of(sent: object, name: str, decode: Decode | None) -> list[str]:
    """The texts of a request, in their order.

    Args:
        sent: a text or a list of them, or token ids of one or of several.
        name: of the field.
        decode: from ids to texts; None if they are not taken.

    Raises:
        InvalidRequest: it is anything else, or empty.
    """
    if isinstance(sent, str):
        return [sent]
    if not isinstance(sent, list) or not sent:
        raise InvalidRequest(f"`{name}` must be a text or a list of texts, at least one")
    if isinstance(sent[0], (str, dict)):
        return [_only_text(part, name, index) for index, part in enumerate(sent)]
    rows, seen = (sent if isinstance(sent[0], list) else [sent]), 0
    for index, row in enumerate(rows):
        if not isinstance(row, list) or not row:
            raise _no_text(name, index)
        if (seen := seen + len(row)) > _IDS_AT_A_TIME:
            await asyncio.sleep(0)  # others have a turn
            seen = 0
        if set(map(type, row)) != {int}:
            wrong = next(i for i, value in enumerate(row) if type(value) is not int)
            raise _no_text(f"{name}[{index}]" if rows is sent else name, wrong)
    if decode is None:
        raise InvalidRequest(_NO_IDS.format(name=name))
    return await decode(rows)


def text_of(part: object, name: str, index: int | None = None) -> str:
    """A text to rank, or the one in an object such as Jina's and Cohere's.

    Raises:
        InvalidRequest: there is none.
    """
    text = part.get("text") if isinstance(part, dict) else part
    if not isinstance(text, str):
        place = name if index is None else f"{name}[{index}]"
        raise InvalidRequest(f"`{place}` is neither a text nor an object with `text`", index=index)
    return text


def _only_text(part: object, name: str, index: int) -> str:
    """Of an object with an image beside its text, the vector of the text would be another one."""
    if isinstance(part, dict) and set(part) == {"text"}:
        part = part["text"]
    if not isinstance(part, str):
        raise _no_text(name, index)
    return part


def _no_text(name: str, index: int) -> InvalidRequest:
    return InvalidRequest(
        f"`{name}[{index}]` is no text: `{name}` must hold texts, and nothing else", index=index
    )
