"""Files whose content may change while the server runs: certificates, keys."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    # Of each file: device, inode, bytes, nanoseconds of the last change of its content, and of
    # anything about it, which nobody can set.
    _Signature: TypeAlias = tuple[tuple[int, int, int, int, int], ...]

T = TypeVar("T")

_INLINE_BYTES = 16 * 1024  # read within 15 ms whatever the files are; a thread reads larger ones
_RETRY_SECONDS = (
    60.0  # before larger ones that were refused are read again though they are the same
)


class Watched(Generic[T]):
    """What files say together, read again when one of them changes. Safe to use from any thread.

    A caller looks at the files at most once in `seconds`; a thread reads those that take long.
    Any difference counts, also a time in the future. Files that are gone, half written or not what
    they should be change nothing: what they said before stays, `told` hears of it once, and the
    next look tries again. A file that changed less than `seconds` ago, or that says it will change,
    may not be whole yet, and is read once two looks found it the same.

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
        self._seen = self._awaited = self._signature()
        self._now = self._read()
        self._is_reading = False
        self._refused: _Signature = ()
        self._retry_at = 0.0
        self._wrong = ""
        self._looked = time.monotonic()

    def current(self) -> T:
        """What the files say now, or said when they last made sense."""
        with self._lock:
            if time.monotonic() - self._looked >= self._seconds:
                self._look()
                self._looked = time.monotonic()
            return self._now

    def reload(self) -> None:
        """Read the files now, in a thread, though they did not change."""
        with self._lock:
            self._start_reading()

    def _look(self) -> None:
        if self._is_reading:
            return
        try:
            found = self._signature()
        except OSError as error:
            self._refuse(error)
            return
        if found == self._seen and not self._wrong:
            return
        was, self._awaited = self._awaited, found
        if found != was and not self._is_settled(found):
            return
        if sum(size for _, _, size, *_ in found) <= _INLINE_BYTES:
            self._take(*self._tried())
        elif found != self._refused or time.monotonic() >= self._retry_at:
            self._start_reading()

    def _is_settled(self, found: _Signature) -> bool:
        """Whether all files changed last at a time that is past, by more than a look."""
        return max(mtime for *_, mtime, _ in found) <= time.time_ns() - self._seconds * 1e9

    def _start_reading(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            threading.Thread(target=self._read_in_thread, name="qwire-reload", daemon=True).start()

    def _read_in_thread(self) -> None:
        tried = self._tried()
        with self._lock:
            self._is_reading = False
            self._take(*tried)

    def _tried(self) -> tuple[T | Exception | None, _Signature]:
        """The content of the files, or why there is none; None if they change meanwhile."""
        found: _Signature = ()
        try:
            found = self._signature()
            now = self._read()
            return (now if self._signature() == found else None), found
        except (OSError, ValueError) as error:
            return error, found

    def _take(self, now: T | Exception | None, found: _Signature) -> None:
        if isinstance(now, Exception):
            self._refused, self._retry_at = found, time.monotonic() + _RETRY_SECONDS
            self._refuse(now)
        elif now is not None:
            self._now, self._seen, self._wrong = now, found, ""
            self._told("")

    def _refuse(self, error: Exception) -> None:
        if str(error) != self._wrong:
            self._wrong = str(error)
            self._told(self._wrong)

    def _read(self) -> T:
        return self._parse([path.read_bytes() for path in self._paths])

    def _signature(self) -> _Signature:
        stats = [path.stat() for path in self._paths]
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)
