"""Files whose content may change while the server runs: certificates, keys."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    # Of each file: inode, bytes, nanoseconds of its last change.
    _Signature: TypeAlias = tuple[tuple[int, int, int], ...]

T = TypeVar("T")


class Watched(Generic[T]):
    """What files say together, read again when one of them changes. Safe to use from any thread.

    No thread watches: whoever asks looks, at most once in `seconds`. Files that are gone, half
    written or not what they should be change nothing: what they said before stays, `told` hears of
    it once, and the next look tries again. A file that changed less than `seconds` ago may not be
    whole yet, and waits for the next look.

    Args:
        paths: of the files.
        parse: their content, in the same order, to what they say. Raises ValueError if they do not.
        told: of each reading but the first: an empty string, or what is wrong.
        seconds: between two looks.

    Raises:
        OSError: a file cannot be read.
        ValueError: the files do not say what they should.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        parse: Callable[[Sequence[bytes]], T],
        told: Callable[[str], None],
        seconds: float = 1.0,
    ) -> None:
        self._paths = paths
        self._parse = parse
        self._told = told
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen = self._signature()
        self._now = self._read()
        self._wrong = ""
        self._looked = time.monotonic()

    def current(self) -> T:
        """What the files say now, or said when they last made sense."""
        with self._lock:
            if time.monotonic() - self._looked >= self._seconds:
                self._look()
                self._looked = time.monotonic()
            return self._now

    def _look(self) -> None:
        try:
            found = self._signature()
            if found == self._seen and not self._wrong:
                return
            if max(changed for *_, changed in found) > time.time_ns() - self._seconds * 1e9:
                return
            now = self._read()
            if self._signature() != found:
                return
        except (OSError, ValueError) as error:
            if str(error) != self._wrong:
                self._wrong = str(error)
                self._told(self._wrong)
            return
        self._now, self._seen, self._wrong = now, found, ""
        self._told("")

    def _read(self) -> T:
        return self._parse([path.read_bytes() for path in self._paths])

    def _signature(self) -> _Signature:
        stats = [path.stat() for path in self._paths]
        return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)
