"""A file of API keys that tests change, as an editor or `qwire key` would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from qwire import keyfile
from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def keyed_process(file: KeyFile) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A server with these keys and without a model, as a process, and its ports, gRPC's first."""
    paths = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-m", "support.keyed_server", str(file.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process, [int(port) for port in process.stdout.readline().split()]
    finally:
        process.stdin.close()
        process.wait(hang_limit(15))
        process.stdout.close()


def peak(process: subprocess.Popen[str]) -> int:
    """Most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
