"""Where records go: a file that never ends in half a record, or standard output.

Nothing is buffered: each record is one write, and `close` cuts off what broke off in the middle of
one. So neither Ctrl-C, nor a full disk, nor `kill -9` costs more than the record it struck.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from qwire.errors import InvalidRequestError
from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    import io
    from pathlib import Path


class Sink(Protocol):
    """Takes whole records; `end` is the size in bytes of those so far."""

    end: int

    def append(self, record: bytes) -> None:
        """Write one at the end."""

    def close(self, end: int) -> None:
        """Leave the first `end` bytes, which are whole records."""


class WholeFile:
    """A file of whole records; `end` is their size in bytes.

    Args:
        path: of the file.
        keep: bytes of it that stay; 0 makes it anew.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self._file = path.open("r+b" if keep else "wb", buffering=0)
        self._file.truncate(keep)
        self._file.seek(keep)
        self.end = keep

    def append(self, record: bytes) -> None:
        """Write a record at the end."""
        _write(self._file, record)
        self.end += len(record)

    def replace_start(self, start: bytes) -> None:
        """Write over the first bytes."""
        self._file.seek(0)
        _write(self._file, start)
        self._file.seek(self.end)

    def close(self, end: int) -> None:
        """Leave the first `end` bytes, which are whole records."""
        self._file.truncate(end)
        self._file.close()


class StandardOutput:
    """Records for the next program of a pipe, which gets each at once."""

    def __init__(self) -> None:
        self.end = 0
        if sys.stdout is None:
            raise InvalidRequestError("standard output is closed")
        self._file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115

    def append(self, record: bytes) -> None:
        """Write a record; Ctrl-C waits for its end, because nothing can be cut off a pipe."""
        with uninterrupted():
            _write(self._file, record)
        self.end += len(record)

    def close(self, end: int) -> None:
        """Nothing is held back, and nothing can be cut off."""


def _write(file: io.RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # a raw write may take a part only
        rest = rest[file.write(rest) or 0 :]
