"""The file that the texts come from, whatever its form."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from qwire.corpus.csv_in import read_csv
from qwire.corpus.lines import Lines, read_lines
from qwire.corpus.parquet_in import open_parquet, read_parquet
from qwire.corpus.rows import FORMATS, Form, Start
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from qwire.corpus.rows import Row

_SUFFIXES = {f".{name}": name for name in FORMATS}


class Source:
    """An open input; use in `with`.

    Args:
        name: path of the file; "-" is standard input.
        form: of the file.

    Raises:
        InvalidRequestError: it cannot be read so.

    Attributes:
        form: of the file.
        total: what `Row.end` comes to in the end; None where nobody knows.
    """

    def __init__(self, name: str, form: Form) -> None:
        self.form = form
        self.total: int | None
        self._name = name
        self._lines: Lines | None = None
        self._file: Any
        if form.format == "parquet":
            if name == "-":
                raise InvalidRequestError("Parquet needs a file: it cannot be read from a pipe")
            self._file = open_parquet(name, form)
            self.total = self._file.metadata.num_rows
        else:
            self._file = _open(name)
            self.total = _size(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._name != "-":
            self._file.close()

    @property
    def lines(self) -> int:
        """Lines read so far; 0 of Parquet."""
        return self._lines.number if self._lines else 0

    def rows(self, start: Start | None = None) -> Iterator[tuple[Row, Any]]:
        """Each row and its text, None with an error; to be called once for each opening.

        Args:
            start: where to begin, if not at the beginning.

        Raises:
            InvalidRequestError: a column is not there, or the file is UTF-16.
        """
        start = start or Start()
        if self.form.format == "parquet":
            return read_parquet(self._file, self.form, start.index)
        lines = self._lines = Lines(self._file)
        if self.form.format in {"csv", "tsv"}:
            return read_csv(lines, self.form, start)
        lines.skip_to(start)
        return read_lines(lines, self.form, start.index)


def look(name: str) -> tuple[int, int]:
    """What tells that a file was written to: its size and its time, in nanoseconds."""
    found = Path(name).stat()
    return found.st_size, found.st_mtime_ns


def find_format(name: str, said: str | None) -> str:
    """The form of a file, by what is said or else by its name.

    Raises:
        InvalidRequestError: neither tells.
    """
    found = said or _SUFFIXES.get(Path(name).suffix.lower())
    if found is None:
        listed = ", ".join(_SUFFIXES)
        raise InvalidRequestError(
            f"the name of {name} ends in none of {listed}: say --format {', '.join(FORMATS)}"
        )
    return found


def _open(name: str) -> BinaryIO:
    try:
        if name == "-" and sys.stdin is None:
            raise InvalidRequestError("standard input is closed")
        return sys.stdin.buffer if name == "-" else Path(name).open("rb")
    except OSError as error:
        raise InvalidRequestError(f"the input cannot be read: {error}") from None


def _size(file: BinaryIO) -> int | None:
    """Bytes of a regular file; None of a pipe."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None
