"""Reading a request's body: its type, its size while it arrives, its fields. Knows no route."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from qwire_server.api.http.errors import BodyTooLarge, EncodedBody, NotJson
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request

B = TypeVar("B", bound="Body")
# Of a body that is too large so many times the limit is read and thrown away, so that its client
# has sent it and reads our answer; one that sends more is cut.
_DISCARDED = 8


class Body(BaseModel):
    """Fields of a JSON body; those that nobody knows are left alone, as other servers do."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


async def read(request: Request, kind: type[B], most_bytes: int) -> B:
    """The body of a request.

    Raises:
        NotJson, EncodedBody, BodyTooLarge, InvalidRequest.
        starlette.requests.ClientDisconnect: the client has gone.
    """
    check_type(request)
    check_encoding(request)
    raw = await read_bytes(request, most_bytes)
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise InvalidRequest(_told(error)) from None  # its text may hold the caller's


def check_type(request: Request) -> None:
    """Insist on JSON.

    A page of another origin may send plain text and forms without asking first, but never JSON.

    Raises:
        NotJson.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != "application/json" and not (
        sent.startswith("application/") and sent.endswith("+json")
    ):
        raise NotJson("send JSON, with the header `Content-Type: application/json`")


def check_encoding(request: Request) -> None:
    """Insist on a body that is not compressed.

    Raises:
        EncodedBody.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise EncodedBody("send the body as it is, without the header `Content-Encoding`")


async def read_bytes(request: Request, most: int) -> bytes:
    """The body's bytes, never more than `most` of them in memory.

    Raises:
        BodyTooLarge.
    """
    parts: list[bytes] = []
    size = 0
    too_large = _announced(request) > most
    async for part in request.stream():
        size += len(part)
        too_large = too_large or size > most
        if too_large:
            parts.clear()
        else:
            parts.append(part)
        if size > most * _DISCARDED:
            break
    if too_large:
        raise BodyTooLarge(
            f"the body has more than {most} bytes: send fewer texts at a time, or raise "
            "--http-body-bytes"
        )
    return b"".join(parts)


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def documented(kind: type[Body]) -> dict[str, Any]:
    """What OpenAPI says of a route that reads this body."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, without what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message}" if where else message
