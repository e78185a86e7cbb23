"""A file of keys that changes all the time: one key stays good, others come and go."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from qwire import keyfile

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_EVERY = 2.5  # seconds: a server takes a file up once it has not changed for one


class ChangingKeys:
    """Use in `with`: from then on the file changes.

    Args:
        path: of the file, which is made.

    Attributes:
        good: the key that stays.
        changes: of the file, so far.
    """

    def __init__(self, path: Path) -> None:
        entry, self.good = keyfile.made("soak", ("embed",), _now())
        self.changes = 0
        self._path = path
        self._steady = keyfile.with_entry("", entry)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._change)
        self._write(self._steady)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _change(self) -> None:
        while not self._over.wait(_EVERY):
            passing, _ = keyfile.made(f"passing-{self.changes}", ("embed",), _now())
            self._write(keyfile.with_entry(self._steady, passing))
            self.changes += 1

    def _write(self, text: str) -> None:
        aside = self._path.with_suffix(".aside")
        aside.write_text(text, "utf-8")
        aside.chmod(0o600)
        aside.replace(self._path)


def _now() -> datetime:
    return datetime.now(timezone.utc)
