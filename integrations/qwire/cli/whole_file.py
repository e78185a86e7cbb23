"""Where records go: a file that never ends in half a record, or standard output.

Nothing is buffered: each record is one write, and `close` cuts off what broke off in the middle of
one. So neither Ctrl-C, nor a full disk, nor `kill -9` costs more than the record it struck.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    import io
    from pathlib import Path


class Sink(Protocol):
    """Takes whole records."""

    def append(self, record: bytes) -> None:
        """Write one at the end."""

    def close(self) -> None:
        """Leave whole records only."""


class WholeFile:
    """A new file of whole records; `end` is their size in bytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self.end = 0

    def append(self, record: bytes) -> None:
        """Write a record at the end."""
        _write(self._file, record)
        self.end += len(record)

    def replace_start(self, start: bytes) -> None:
        """Write over the first bytes."""
        self._file.seek(0)
        _write(self._file, start)
        self._file.seek(self.end)

    def close(self) -> None:
        """Cut off what is no whole record."""
        self._file.truncate(self.end)
        self._file.close()


class StandardOutput:
    """Records for the next program of a pipe, which gets each at once."""

    def __init__(self) -> None:
        self._file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115

    def append(self, record: bytes) -> None:
        """Write a record; Ctrl-C waits for its end, because nothing can be cut off a pipe."""
        with uninterrupted():
            _write(self._file, record)

    def close(self) -> None:
        """Nothing is held back."""


def _write(file: io.RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # a raw write may take a part only
        rest = rest[file.write(rest) or 0 :]
