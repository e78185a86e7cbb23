"""Reads texts from a file, one row after the other. Knows nothing about servers or vectors.

A line that holds no usable text is a row all the same, with its error, so that positions stay.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANK = "the text is empty"  # the error of such a row
_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# A message holds 16 MiB of text; JSON may write a character as six bytes. What is longer than that
# is skipped piece by piece, so that a file without line ends does not fill the memory.
_LONGEST_LINE = 96 * 1024 * 1024


@dataclass(frozen=True)
class Form:
    """How a file holds its texts.

    Attributes:
        jsonl: one JSON object a line, instead of one text a line.
        field: the object's text.
        id_field: the object's id; None where it has none.
    """

    jsonl: bool
    field: str = "text"
    id_field: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One text's place.

    Attributes:
        index: among the texts, from 0: its position in the output.
        line: of the input, from 1.
        end: bytes of the input up to the end of the line.
        digest: SHA-256 of those bytes, by which an input is known again.
        id: the caller's own, None without one.
        error: why the line holds no text.
    """

    index: int
    line: int
    end: int
    digest: bytes
    id: str | int | None = None
    error: str | None = None


def read_texts(file: BinaryIO, form: Form) -> Iterator[tuple[Row, Any]]:
    """Each row and its text; None with an error, which a stream answers in its turn.

    Every line of a text file is a row. In JSON lines, blank lines hold no object and are none.

    Raises:
        InvalidRequestError: the file is UTF-16.
    """
    index = end = 0
    for line, (raw, size, digest) in enumerate(_lines(file), start=1):
        end += size
        if form.jsonl and not raw.strip():
            continue
        text, own_id, error = _parse(raw, size, form)
        yield Row(index, line, end, digest, own_id, error), text
        index += 1


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Each line without its end or a BOM (of one that is too long, the start), bytes, digest."""
    hashed = hashlib.sha256()
    first = True
    while raw := file.readline(_LONGEST_LINE):
        hashed.update(raw)
        size, rest = len(raw), raw
        while not rest.endswith(b"\n") and (rest := file.readline(_LONGEST_LINE)):
            hashed.update(rest)
            size += len(rest)
        if first and raw.startswith(_UTF16_BOMS):
            raise InvalidRequestError("the input is UTF-16: convert it to UTF-8")
        text = raw.removeprefix(_BOM) if first else raw
        yield text.removesuffix(b"\n").removesuffix(b"\r"), size, hashed.digest()
        first = False


def _parse(raw: bytes, size: int, form: Form) -> tuple[str | None, str | int | None, str | None]:
    """A line's text, or None; its id, if it has one; and why it has no text."""
    own_id = None
    try:
        text: str = _decode(raw, size)
        if form.jsonl:
            found = _read_object(text)
            if form.id_field is not None:
                own_id = _get(found, form.id_field, (str, int))
            text = _get(found, form.field, (str,))
        if not text.strip():
            raise ValueError(BLANK)  # noqa: TRY301  the one way out
    except ValueError as error:
        return None, own_id, str(error)
    return text, own_id, None


def _decode(raw: bytes, size: int) -> str:
    if size > _LONGEST_LINE:
        raise ValueError(f"the line has {size} bytes, no message could carry it")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} of the line is not UTF-8") from None


def _read_object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("invalid JSON: too deeply nested") from None
    if not isinstance(found, dict):
        raise ValueError("the line holds no JSON object")  # noqa: TRY004  it becomes a row's error
    return found


def _get(found: dict[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    if name not in found:
        raise ValueError(f"the object has no field {name!r}")
    value = found[name]
    if not isinstance(value, kinds) or isinstance(value, bool):
        words = " or ".join({str: "a string", int: "a whole number"}[kind] for kind in kinds)
        raise ValueError(f"field {name!r} is not {words}")  # noqa: TRY004  as above
    return value
