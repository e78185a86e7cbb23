"""How far a run of `qwire embed` came, so that another one can go on with the same files.

It goes on only if it would have made the same rows: same model, same options, same input so far.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from qwire.corpus.manifest import refuse_changes
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwire.corpus.rows import Row


@dataclass
class Point:
    """The beginning, or where a run has come to.

    Attributes:
        settings: all that decides what a row is; values as JSON has them.
        rows: written.
        read: bytes of the input up to the last of them.
        digest: SHA-256 of those bytes, hexadecimal.
        output_bytes: of the result.
        errors: texts that failed.
        error_bytes: of the file that tells them.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    read: int = 0
    digest: str = ""
    output_bytes: int = 0
    errors: int = 0
    error_bytes: int = 0

    def save(self, path: Path) -> None:
        """Write it down, in one step for whoever reads it."""
        new = path.with_name(path.name + ".new")
        try:
            new.write_text(json.dumps(asdict(self)), "utf-8")
            new.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def skip(self, rows: Iterator[tuple[Row, Any]]) -> Iterator[tuple[Row, Any]]:
        """The rows that are still to be done.

        Raises:
            InvalidRequestError: the input does not begin with what was done.
        """
        if self.rows:
            last = next((row for row, _ in rows if row.index == self.rows - 1), None)
            if last is None or last.digest.hex() != self.digest:
                raise InvalidRequestError(
                    f"the beginning of the input is not that of the run before (as far as its row "
                    f"{self.rows - 1}): begin anew with --overwrite"
                )
        yield from rows


def find_point(path: Path, settings: dict[str, Any]) -> Point:
    """Where the run of this file stopped.

    Raises:
        InvalidRequestError: it was a run with other settings.
    """
    point = Point(**json.loads(path.read_text("utf-8")))
    refuse_changes(point.settings, settings)
    return point
