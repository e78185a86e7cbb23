"""Writes vectors as a numpy array or as JSON lines, and what failed to a file of its own.

Knows nothing about servers.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwire.cli.whole_file import WholeFile
from qwire.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from qwire.cli.whole_file import Sink
    from qwire.corpus.rows import Row
    from qwire.results import StreamItem

# A multiple of 64, as numpy wants it, with room for any number of rows.
_HEADER_BYTES = 128
# So many rows at most are missing from the header of a run that was killed.
_ROWS_PER_HEADER = 64


class Output(Protocol):
    """Takes rows in the order of the input."""

    @property
    def end(self) -> int:
        """Bytes so far."""

    def add(self, row: Row, item: StreamItem, error: str | None) -> None:
        """Append the row's vector, or a place for it if there is an error."""

    def close(self, end: int) -> None:
        """Leave a valid file of the rows that were whole when it had `end` bytes."""


class NpyFile:
    """A numpy array `(rows, dim)`, little-endian; the row of a text that failed is NaN.

    Args:
        path: of the file.
        dim: values of a row.
        dtype: float32 or float16.
        keep: bytes of an earlier run that stay; 0 makes the file anew.
    """

    def __init__(self, path: Path, dim: int, dtype: str, keep: int = 0) -> None:
        self._dim = dim
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._nan = np.full(dim, np.nan, self._dtype).tobytes()
        self._file = WholeFile(path, keep)
        if not keep:
            self._file.append(self._header(0))

    @property
    def end(self) -> int:
        """Bytes so far."""
        return self._file.end

    def add(self, row: Row, item: StreamItem, error: str | None) -> None:  # noqa: ARG002
        """Append a row; ServerError if it is not as long as the others."""
        vector = item.embedding
        if vector is not None and len(vector) != self._dim:
            raise ServerError(
                f"text {row.index} got a vector of {len(vector)} values, not {self._dim}"
            )
        self._file.append(self._nan if vector is None else vector.astype(self._dtype).tobytes())
        if self._rows % _ROWS_PER_HEADER == 0:
            self._file.replace_start(self._header(self._rows))

    def close(self, end: int) -> None:
        """Leave the rows of the first `end` bytes, and let the file go."""
        self._file.end = end
        try:
            self._file.replace_start(self._header(self._rows))
        finally:
            self._file.close(end)

    @property
    def _rows(self) -> int:
        return (self._file.end - _HEADER_BYTES) // len(self._nan)

    def _header(self, rows: int) -> bytes:
        """Version 1.0 of numpy's format, of one length for any number of rows."""
        fields = {"descr": self._dtype.str, "fortran_order": False, "shape": (rows, self._dim)}
        text = f"{fields}".ljust(_HEADER_BYTES - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


class JsonlFile:
    """One JSON object a row: index, id if there is one, vector, tokens, truncated, or error."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @property
    def end(self) -> int:
        """Bytes so far."""
        return self._sink.end

    def add(self, row: Row, item: StreamItem, error: str | None) -> None:
        """Append a row."""
        start: dict[str, Any] = {"index": row.index}
        if row.id is not None:
            start["id"] = row.id
        if item.embedding is None:
            self._sink.append(_line({**start, "vector": None, "error": error}))
            return
        end = f'"tokens": {item.tokens}, "truncated": {item.truncated}}}\n'
        self._sink.append(
            f'{json.dumps(start)[:-1]}, "vector": [{values_of(item.embedding)}], {end}'.encode()
        )

    def close(self, end: int) -> None:
        """Leave the first `end` bytes, and let the file go."""
        self._sink.close(end)


class ErrorFile:
    """One JSON object for each text that failed; made when the first one does.

    Args:
        path: of the file; None writes nothing.
        count: texts that failed in an earlier run.
        keep: bytes of an earlier run that stay.

    Attributes:
        count: texts that failed.
        end: bytes so far.
    """

    def __init__(self, path: Path | None, count: int = 0, keep: int = 0) -> None:
        self.count = count
        self.end = keep
        self._path = path
        self._file: WholeFile | None = None

    def add(self, row: Row, code: str, error: str) -> None:
        """Write down what failed, and where it stands in the input."""
        self.count += 1
        if self._path is None:
            return
        if self._file is None:
            self._file = WholeFile(self._path, self.end)
        place: dict[str, Any] = {"index": row.index, "line": row.line}
        if row.id is not None:
            place["id"] = row.id
        self._file.append(_line({**place, "code": code, "error": error}))
        self.end = self._file.end

    def close(self, end: int) -> None:
        """Leave the first `end` bytes, and let the file go."""
        if self._file is not None:
            self._file.close(end)


def values_of(vector: NDArray[np.float32]) -> str:
    """The values with commas between them.

    Nine digits are a float32 exactly, at two thirds of the length of the float64 next to it.
    """
    return ",".join([f"{value:.9g}" for value in vector.tolist()])


def _line(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields) + "\n").encode()
