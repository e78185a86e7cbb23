"""A file of API keys that tests change, as an editor or `qwire key` would."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from qwire import keyfile

if TYPE_CHECKING:
    from pathlib import Path

_LONG_AGO = 100.0  # seconds; a file that changed just now may not be whole, and waits


class KeyFile:
    """The file, and what was made for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("")

    def write(self, text: str) -> None:
        """Put another file in its place."""
        new = self.path.with_suffix(".next")
        new.write_text(text)
        new.chmod(0o600)
        changed = time.time() - _LONG_AGO
        os.utime(new, (changed, changed))
        new.replace(self.path)

    def new(self, name: str, *scopes: str, **quota: int) -> str:
        """Add a key; `id.secret`."""
        now = datetime.now(timezone.utc)
        entry, key = keyfile.made(name, scopes or ("embed", "rerank"), now, **quota)
        self.write(keyfile.with_entry(self.path.read_text(), entry))
        return key

    def revoke(self, name: str) -> None:
        """Take a key away."""
        text = self.path.read_text()
        (entry,) = (entry for entry in keyfile.parse(text) if entry.name == name)
        self.write(keyfile.without_entry(text, entry))


def bearer(key: str | None) -> list[tuple[str, str]]:
    """The metadata, or the headers, that bring a key."""
    return [] if key is None else [("authorization", f"Bearer {key}")]
