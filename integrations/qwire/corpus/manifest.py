"""What a folder of parts holds and is going to hold, in `_manifest.json` beside them.

A run goes on with the parts of another one only if it would have made the same: same input, same
settings, same model.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from qwire.errors import InvalidRequestError
from qwire.fingerprint import difference
from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qwire.corpus.plan import Part, Plan

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
        fingerprint: of the model; empty until the first part is there.
        parts: those that are done.
        complete: all are.
    """

    input: dict[str, Any]
    settings: dict[str, Any]
    fingerprint: str = ""
    parts: list[Done] = field(default_factory=list)
    complete: bool = False

    @property
    def rows(self) -> int:
        """Of the parts that are done."""
        return sum(done.rows for done in self.parts)

    def missing(self, plan: Plan) -> list[Part]:
        """The parts that are not done."""
        done = {done.number for done in self.parts}
        return [part for part in plan.parts if part.number not in done]

    def add(self, done: Done, folder: Path) -> None:
        """One more part is done: write it down, or leave all as it was.

        Raises:
            InvalidRequestError: another model made it than the others.
            OSError: it cannot be written down.
        """
        if self.fingerprint:
            refuse_changes({"fingerprint": self.fingerprint}, {"fingerprint": done.fingerprint})
        more = replace(self, fingerprint=done.fingerprint, parts=[*self.parts, done])
        with uninterrupted():
            more.save(folder)
            self.fingerprint, self.parts = more.fingerprint, more.parts

    def save(self, folder: Path) -> None:
        """Write it down, in one step for whoever reads it, and even if the power fails.

        Raises:
            OSError: it cannot be written.
        """
        new = folder / f".{NAME}.new"
        try:
            with new.open("w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(folder / NAME)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        sync_folder(folder)


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    path = folder / NAME
    try:
        manifest = Manifest(**json.loads(path.read_text("utf-8")))
        manifest.parts = [Done(**part) for part in cast("Any", manifest.parts)]
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"{path} cannot be read ({error}): begin anew with --overwrite"
        ) from None
    return manifest


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that a run has what the one before had.

    Raises:
        InvalidRequestError: the first difference.
    """
    for name, value in now.items():
        if before.get(name) != value:
            said = f"{name} was {before.get(name)!r} in the run before and is {value!r} now"
            if name == "fingerprint" and (what := difference(str(before.get(name)), str(value))):
                said += f" ({what})"
            raise InvalidRequestError(
                f"{said}: begin anew with --overwrite, or resume with what it was"
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
