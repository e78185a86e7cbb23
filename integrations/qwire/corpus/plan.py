"""Cuts an input into parts of equally many rows, each of which can be read by itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qwire.corpus.rows import Start
from qwire.corpus.source import Source, look
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire.corpus.rows import Form

# A kill costs the parts under way; 8192 rows are seconds on a GPU and a minute on a CPU.
PART_ROWS = 8192
_READ_BYTES = 2**20


@dataclass(frozen=True)
class Part:
    """A run of rows; `start` is where the first of them begins."""

    number: int
    start: Start
    rows: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"part-{self.number:05}.parquet"


@dataclass(frozen=True)
class Plan:
    """The parts of an input.

    Attributes:
        digest: SHA-256 of the file, hexadecimal, as `sha256sum` prints it.
        seen: the file's size and time then.
    """

    digest: str
    seen: tuple[int, int]
    parts: list[Part] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)


def make_plan(name: str, form: Form, part_rows: int) -> Plan:
    """Read the whole file once, to know it again and to know where its parts begin.

    Raises:
        InvalidRequestError: it cannot be read, or not twice.
    """
    if name == "-":
        raise InvalidRequestError(
            "standard input cannot be read in parts: name a file, or give .npy, .jsonl or .csv as "
            "output"
        )
    with Source(name, form) as source:
        seen = look(name)
        starts = _starts_of_rows if form.format == "parquet" else _starts_of_lines
        parts = [
            Part(number, start, rows)
            for number, (start, rows) in enumerate(starts(source, part_rows))
        ] or [Part(0, Start(), 0)]  # a file that says what is not in it
    return Plan(_digest(Path(name)), seen, parts)


def _starts_of_rows(source: Source, part_rows: int) -> Iterator[tuple[Start, int]]:
    """Parquet knows its rows."""
    total = source.total or 0
    for index in range(0, total, part_rows):
        yield Start(index, index, index), min(part_rows, total - index)


def _starts_of_lines(source: Source, part_rows: int) -> Iterator[tuple[Start, int]]:
    """Where a row ends, only reading it tells."""
    start, rows = Start(), 0
    for row, _ in source.rows():
        rows += 1
        if rows == part_rows:
            yield start, rows
            start, rows = Start(row.index + 1, source.lines, row.end), 0
    if rows:
        yield start, rows


def _digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            hashed.update(piece)
    return hashed.hexdigest()
