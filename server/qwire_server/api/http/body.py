"""Reading a request's body: its type, its size while it arrives, its fields. Knows no route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from qwire_server.api.http import fields
from qwire_server.api.http.errors import BodyTooLarge, EncodedBody, NotJson
from qwire_server.api.http.json_place import place_of
from qwire_server.api.http.json_scan import JsonScan, TooManyValues
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from starlette.requests import Request
    from typing_extensions import Self

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Of a body that is too large so many times the limit is read and thrown away, so that its client
# has sent it and reads our answer; one that sends more is cut.
_DISCARDED = 8
_LONGEST = 64 * 1024  # characters of a field that is no text to embed or to rank

V = TypeVar("V")


class Body(BaseModel):
    """Fields of a JSON body; null means that a field is left out. `fields.py` has all others."""

    model_config = ConfigDict(
        extra="ignore", protected_namespaces=(), str_max_length=_LONGEST, hide_input_in_errors=True
    )
    known: ClassVar[set[str]] = set()  # fields of all bodies

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Note the fields of one more body."""
        Body.known.update(cls.model_fields)

    @classmethod
    def of(cls, sent: object) -> Self:
        """The body that was sent.

        Raises:
            InvalidRequest: it names the field that is wrong.
        """
        if not isinstance(sent, dict):
            raise InvalidRequest("the body is no JSON object")
        given = {name: value for name, value in sent.items() if value is not None}
        fields.check(given, cls.model_fields, Body.known)
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise InvalidRequest(_told(error)) from None  # its text may hold the caller's

    def only(self, **meanings: V | None) -> V | None:
        """The one meaning of fields that say the same in the words of several interfaces.

        Args:
            meanings: value of each field by its name; None where it was left out.

        Raises:
            InvalidRequest: two of them say different things.
        """
        given = {name: value for name, value in meanings.items() if value is not None}
        values = list(given.values())
        if any(value != values[0] for value in values):
            names = " and ".join(f"`{name}`" for name in given)
            raise InvalidRequest(f"{names} say different things: send one of them")
        return values[0] if values else None


class BodyReader:
    """Reads bodies, a large one at a time: what parses them cannot be interrupted.

    Args:
        max_bytes: byte limit of one body.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parsing = asyncio.Lock()

    async def read(self, request: Request, scan: JsonScan) -> object:
        """The JSON value that a request's body holds.

        Raises:
            NotJson, EncodedBody, BodyTooLarge, TooManyValues, InvalidRequest.
            starlette.requests.ClientDisconnect: the client has gone.
        """
        check_type(request)
        check_encoding(request)
        raw = await self._bytes(request, scan)
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
        async with self._parsing:
            await asyncio.sleep(0)  # others have a turn between two bodies
            try:
                value: object = orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                raise await asyncio.to_thread(not_json, raw, error) from None
        await asyncio.sleep(0)
        return value

    async def _bytes(self, request: Request, scan: JsonScan) -> bytes:
        """The body's bytes, never more than the limit of them in memory.

        Raises:
            BodyTooLarge, TooManyValues.
        """
        most = self._max_bytes
        parts: list[bytes] = []
        size = 0
        error: InvalidRequest | None = None
        if _announced(request) > most:
            error = _too_large(most)
        async for part in request.stream():
            size += len(part)
            if size > most:
                error = error or _too_large(most)
            if size > most * _DISCARDED:
                break
            if error is None:
                try:
                    scan.feed(part)
                except TooManyValues as too_many:
                    error = too_many
            if error is None:
                parts.append(part)
            else:
                parts.clear()
        if error:
            raise error
        return b"".join(parts)


def not_json(raw: bytes, error: orjson.JSONDecodeError) -> InvalidRequest:
    """Why a body cannot be read; a text that is not Unicode is named by its place."""
    found = place_of(raw, error)
    if found is None:
        return InvalidRequest(f"the body is no JSON: {error.msg[:200]}")
    name, index = found
    return InvalidRequest(
        f"{name} is not Unicode (half of a surrogate pair, or no UTF-8): clean the text before it "
        "is sent",
        index=index,
    )


def check_type(request: Request) -> None:
    """Insist on JSON.

    A page of another origin may send plain text and forms without asking first, but never JSON,
    nor a key: with that, a body needs no type, which LiteLLM leaves out for Voyage.

    Raises:
        NotJson.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not sent and "authorization" in request.headers:
        return
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


def documented(kind: type[Body]) -> dict[str, Any]:
    """The OpenAPI entry of a route that reads this body."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has more than {most} bytes: send fewer texts at a time, or raise "
        "--http-body-bytes"
    )


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, without what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"`{first['loc'][0]}`: {message}" if first["loc"] else message
