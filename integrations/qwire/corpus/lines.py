"""Reads texts from lines: one text a line, or one JSON object. Knows no servers and no vectors.

A line that holds no usable text is a row all the same, with its error, so that positions stay.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, BinaryIO

from qwire.corpus.rows import Row, check_text
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire.corpus.rows import Form, Start

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# A message holds 16 MiB of text; JSON may write a character as six bytes. What is longer than that
# is skipped piece by piece, so that a file without line ends does not fill the memory.
_LONGEST_LINE = 96 * 1024 * 1024


class Lines:
    """Lines of a file, ends included, a BOM not; of one that is too long, its start.

    Attributes:
        number: lines read so far, those before a `skip_to` included.
        end: bytes of the file up to there.
        size: bytes of the last line.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.number = self.end = self.size = 0
        self._file = file
        self._hashed = hashlib.sha256()

    @property
    def digest(self) -> bytes:
        """SHA-256 of all that was read."""
        return self._hashed.digest()

    def skip_to(self, start: Start) -> None:
        """Go on elsewhere."""
        if start.end:
            self._file.seek(start.end)
            self.number, self.end = start.line, start.end

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        line = rest = self._readline()
        if not line:
            raise StopIteration
        self.size = len(line)
        while not rest.endswith(b"\n") and (rest := self._readline()):
            self.size += len(rest)
        if self.end == 0:
            line = _without_bom(line)
        self.number += 1
        self.end += self.size
        return line

    def check(self) -> None:
        """See that the last line is whole.

        Raises:
            ValueError: it was too long to be kept.
        """
        if self.size > _LONGEST_LINE:
            raise ValueError(f"the line has {self.size} bytes, no message could carry it")

    def _readline(self) -> bytes:
        line = self._file.readline(_LONGEST_LINE)
        self._hashed.update(line)
        return line


def _without_bom(line: bytes) -> bytes:
    if line.startswith(_UTF16_BOMS):
        raise InvalidRequestError("the input is UTF-16: convert it to UTF-8")
    return line.removeprefix(_BOM)


def read_lines(lines: Lines, form: Form, index: int = 0) -> Iterator[tuple[Row, Any]]:
    """Each row and its text; None with an error, which a stream answers in its turn.

    Every line of a text file is a row, a blank one too: it holds an empty text. In JSON lines,
    blank lines hold no object and are no rows.

    Args:
        lines: of the input.
        form: "txt" or "jsonl".
        index: of the first row.

    Raises:
        InvalidRequestError: the file is UTF-16.
    """
    for line in lines:
        raw = line.removesuffix(b"\n").removesuffix(b"\r")
        if form.format == "jsonl" and not raw.strip():
            continue
        text, own_id, error = _parse(lines, raw, form)
        yield Row(index, lines.number, lines.end, lines.digest, own_id, error), text
        index += 1


def _parse(lines: Lines, raw: bytes, form: Form) -> tuple[str | None, str | int | None, str | None]:
    """A line's text, or None; its id, if it has one; and why it has no text."""
    own_id = None
    try:
        lines.check()
        found: object = _decode(raw)
        if form.format == "jsonl":
            fields = _read_object(str(found))
            if form.id_column is not None:
                own_id = _id(fields, form.id_column)
            found = _get(fields, form.text_column)
        text = check_text(found, f"field {form.text_column!r}")
    except ValueError as error:
        return None, own_id, str(error)
    return text, own_id, None


def _decode(raw: bytes) -> str:
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


def _id(found: dict[str, Any], name: str) -> str | int:
    value = _get(found, name)
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ValueError(f"field {name!r} is not a string or a whole number")  # noqa: TRY004
    return value


def _get(found: dict[str, Any], name: str) -> Any:
    if name not in found:
        raise ValueError(f"the object has no field {name!r}")
    return found[name]
