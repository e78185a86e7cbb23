"""What stands where a text is expected: texts, or token ids that become texts. Knows no route."""

from __future__ import annotations

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
    if all(isinstance(part, str) for part in sent):
        return sent
    rows = [sent] if _are_ids(sent) else sent
    if not all(map(_are_ids, rows)):
        raise InvalidRequest(f"`{name}` must hold texts, and nothing else")
    if decode is None:
        raise InvalidRequest(_NO_IDS.format(name=name))
    return await decode(rows)


def _are_ids(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(type(i) is int for i in part)
