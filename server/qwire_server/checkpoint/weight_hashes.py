"""The sha256 of every weight file, computed in threads while the weights are loaded.

The cache of the Hugging Face hub names each large file by its sha256: that is taken as it is.
"""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from qwire_server.checkpoint.hash_memory import recall, remember, stamp
from qwire_server.checkpoint.inside import blobs_of
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from typing_extensions import Self

_THREADS = 4  # a disk gives hardly more, and loading needs cores too
_PART = 4 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class WeightHashes:
    """Hashes of some files; a context that ends unfinished work when it is left.

    Args:
        folder: folder of the model.
        files: files of its weights.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(min(_THREADS, len(files)), "qwire-hash")
        blobs = blobs_of(folder.resolve())
        self._running: list[tuple[Path, Future[_Hashed]]] = [
            (path, self._pool.submit(self._hash, path, blobs)) for path in files
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown()

    def result(self) -> dict[str, str]:
        """File names and their hashes; waits.

        Raises:
            ModelError: a file cannot be read, or changed meanwhile.
        """
        found = {path: running.result() for path, running in self._running}
        remember({path: (one.seen, one.digest) for path, one in found.items() if one.seen})
        return {path.name: one.digest for path, one in found.items()}

    def _hash(self, path: Path, blobs: list[Path]) -> _Hashed:
        target = path.resolve()
        if path.is_symlink() and target.parent in blobs and _SHA256.fullmatch(target.name):
            return _Hashed(target.name)
        try:
            seen = stamp(path)
            if known := recall(path, seen):
                return _Hashed(known)
            digest = self._read(path)
            if stamp(path) != seen:
                raise ModelError(f"{path} changed while it was read: start again when it is whole")
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error}") from error
        return _Hashed(digest, seen)

    def _read(self, path: Path) -> str:
        digest, part = hashlib.sha256(), bytearray(_PART)
        with path.open("rb", buffering=0) as file:
            while (size := file.readinto(part)) and not self._stopped.is_set():
                digest.update(memoryview(part)[:size])  # which lets other threads run
        return digest.hexdigest()


class _Hashed:
    """A hash, and how its file looked if that is worth remembering."""

    def __init__(self, digest: str, seen: list[int] | None = None) -> None:
        self.digest = digest
        self.seen = seen or []
