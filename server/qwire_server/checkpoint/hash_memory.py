"""Remembers the sha256 of large files between starts, in the user's cache folder.

A file is the same while path, size, modification and change time and inode are. Where nothing can
be written, and where what was written cannot be read, hashes are computed anew.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "sha256.json"
_MOST = 1000  # files; those that were hashed first are forgotten
_SETTLED_SECONDS = 2.0  # a file system's clock may be so coarse that a later write looks like this


def stamp(path: Path) -> list[int]:
    """Values that change when a file does: size, times in nanoseconds, inode and device."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def recall(path: Path, seen: list[int]) -> str:
    """The hash of a file that looks like this; empty if it is not known."""
    entry = _load().get(str(path.resolve()))
    if not isinstance(entry, list) or len(entry) != 2 or entry[0] != seen:
        return ""
    return str(entry[1]) if _is_sha256(entry[1]) else ""


def remember(hashes: Mapping[Path, tuple[list[int], str]]) -> None:
    """Keep hashes, each with how its file looked, except of files that changed just now."""
    settled = time.time_ns() - int(_SETTLED_SECONDS * 1e9)
    new = {
        str(path.resolve()): [seen, digest]
        for path, (seen, digest) in hashes.items()
        if max(seen[1], seen[2]) < settled
    }
    folder = _folder()
    if not new or folder is None:
        return
    kept = {name: entry for name, entry in _load().items() if name not in new}
    whole = dict([*kept.items(), *new.items()][-_MOST:])
    temporary = folder / f".{_NAME}.{os.getpid()}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(whole), "utf-8")
        temporary.replace(folder / _NAME)


def _load() -> dict[str, Any]:
    folder = _folder()
    if folder is None:
        return {}
    try:
        found = json.loads((folder / _NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _folder() -> Path | None:
    """As the XDG Base Directory Specification has it: a relative path does not count."""
    if (named := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():
        return named / "qwire"
    try:
        return Path.home() / ".cache" / "qwire"
    except RuntimeError:  # no home
        return None


def _is_sha256(digest: Any) -> bool:
    return isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
