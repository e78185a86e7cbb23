"""What a folder of parts holds and is going to hold, in `_manifest.json` beside them.

A run goes on with the parts of another one only if it would have made the same: same input, same
settings, same model.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "_manifest.json"  # readers of Parquet folders pass over what begins with _ or .


@dataclass(frozen=True)
class Done:
    """A part that has its name, and what became of its rows.

    Attributes:
        fingerprint: of the model that made it.
    """

    number: int
    rows: int
    size: int
    tokens: int
    failed: int
    truncated: int
    fingerprint: str


@dataclass
class Manifest:
    """The state of a run; values as JSON has them.

    Attributes:
        input: `sha256` and `rows` of the file.
        settings: all that decides what a row is, and which rows a part has.
        fingerprint: of the model; empty until the first part is there, if nobody knew before.
        parts: those that are done, by their number in words.
        complete: all are.
    """

    input: dict[str, Any]
    settings: dict[str, Any]
    fingerprint: str = ""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    complete: bool = False

    @property
    def done(self) -> list[Done]:
        """The parts that are done."""
        return [Done(**part) for part in self.parts.values()]

    def add(self, done: Done) -> None:
        """One more part is done.

        Raises:
            InvalidRequestError: another model made it.
        """
        self.check_model(done.fingerprint)
        self.fingerprint = done.fingerprint
        self.parts[str(done.number)] = asdict(done)

    def check_model(self, fingerprint: str) -> None:
        """See that parts of this model may come.

        Raises:
            InvalidRequestError: they would not fit those that are there.
        """
        if self.fingerprint:
            refuse_changes({"fingerprint": self.fingerprint}, {"fingerprint": fingerprint})

    def save(self, folder: Path) -> None:
        """Write it down, in one step for whoever reads it, and even if the power fails."""
        new = folder / f".{NAME}.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / NAME)
        sync_folder(folder)


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    path = folder / NAME
    try:
        return Manifest(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"{path} cannot be read ({error}): begin anew with --overwrite"
        ) from None


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that a run has what the one before had.

    Raises:
        InvalidRequestError: the first difference.
    """
    for name, value in now.items():
        if before.get(name) != value:
            raise InvalidRequestError(
                f"{name} was {before.get(name)!r} in the run before and is {value!r} now: begin "
                "anew with --overwrite, or resume with what it was"
            )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a loss of power, where folders can be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
