"""A file of keys that changes under servers: one key stays good, others come and go."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from qwire import keyfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EVERY = 2.5  # seconds: a server takes a file up once it has not changed for one
_LONG_AGO = 100.0  # seconds


class Keys:
    """The file.

    Args:
        path: where it is made.

    Attributes:
        good: the key that stays.
        changes: of the file, so far.
    """

    def __init__(self, path: Path) -> None:
        entry, self.good = keyfile.made("steady", ("embed",), _now())
        self.changes = 0
        self.path = path
        self._steady = keyfile.with_entry("", entry)
        self._write(self._steady)

    def change(self) -> None:
        """Put another key in the place of the one that came last."""
        passing, _ = keyfile.made(f"passing-{self.changes}", ("embed",), _now())
        self._write(keyfile.with_entry(self._steady, passing))
        self.changes += 1

    def spoil(self) -> None:
        """Leave half of it, as if its writer had died a while ago."""
        self._write(self._steady[: self._steady.index("scopes") - 9])
        changed = time.time() - _LONG_AGO
        os.utime(self.path, (changed, changed))

    def _write(self, text: str) -> None:
        aside = self.path.with_suffix(".aside")
        aside.write_text(text, "utf-8")
        aside.chmod(0o600)
        aside.replace(self.path)


@contextmanager
def changing(keys: Keys) -> Iterator[Keys]:
    """Have it change all the time, until the block is left."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(_EVERY):
            keys.change()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield keys
    finally:
        over.set()
        thread.join()


def _now() -> datetime:
    return datetime.now(timezone.utc)
