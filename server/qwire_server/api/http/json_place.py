"""Where in a JSON text something is that is no Unicode: the field, and the text of a list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from qwire_server.api.http.json_scan import brackets_of

if TYPE_CHECKING:
    from typing import Any

_CLOSERS = {ord("["): b"]", ord("{"): b"}"}
_NAME = re.compile(r"\w{1,64}", re.ASCII)


def place_of(raw: bytes, error: orjson.JSONDecodeError) -> tuple[str, int | None] | None:
    """The name of a text with a lone surrogate or broken UTF-8, and its index in its list.

    Args:
        raw: the JSON text.
        error: why it was not parsed.

    Returns:
        Such as ("`input[3]`", 3); None if something else is wrong.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as broken:
        before = raw[: broken.start]
    else:
        if "surrogate" not in error.msg:
            return None
        before = text[: error.pos].encode()
    path = _path(before)
    index = next((part for part in path if isinstance(part, int)), None)
    return _written(path), index


def _path(before: bytes) -> list[str | int]:
    """Keys and indices that lead to the string in which a JSON text breaks off."""
    closers: list[bytes] = []
    for bracket in brackets_of(before):
        if bracket in _CLOSERS:
            closers.append(_CLOSERS[bracket])
        elif closers:
            closers.pop()
    try:
        value: Any = orjson.loads(before + b'"' + b"".join(reversed(closers)))
    except orjson.JSONDecodeError:
        return []
    path: list[str | int] = []
    while isinstance(value, (dict, list)) and value:
        step: Any = len(value) - 1 if isinstance(value, list) else next(reversed(value))
        path.append(step)
        value = value[step]
    return path


def _written(path: list[str | int]) -> str:
    if not path:
        return "the body"
    steps = [
        f"[{part}]" if isinstance(part, int) else "." + (part if _NAME.fullmatch(part) else "?")
        for part in path
    ]
    return f"`{''.join(steps).removeprefix('.')}`"
