"""Writes vectors as rows of a CSV file. Knows nothing about servers."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from qwire.cli.vectors_out import values_of

if TYPE_CHECKING:
    from qwire.cli.whole_file import WholeFile
    from qwire.corpus.rows import Row
    from qwire.results import StreamItem


class CsvFile:
    """Columns index, id if there is one, vector as a JSON array, tokens, truncated, error.

    Args:
        file: that gets the rows, and the header if it is empty.
        has_id: whether there are ids.
    """

    def __init__(self, file: WholeFile, *, has_id: bool) -> None:
        self._file = file
        self._has_id = has_id
        if not file.end:
            ids = ["id"] if has_id else []
            self._append(["index", *ids, "vector", "tokens", "truncated", "error"])

    @property
    def end(self) -> int:
        """Bytes so far."""
        return self._file.end

    def add(self, row: Row, item: StreamItem, error: str | None) -> None:
        """Append a row."""
        ids = [row.id] if self._has_id else []
        vector = "" if item.embedding is None else f"[{values_of(item.embedding)}]"
        counts = ["", ""] if item.embedding is None else [item.tokens, item.truncated]
        self._append([row.index, *ids, vector, *counts, error])

    def close(self, end: int) -> None:
        """Leave the first `end` bytes, and let the file go."""
        self._file.close(end)

    def _append(self, record: list[object]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(record)
        self._file.append(line.getvalue().encode())
