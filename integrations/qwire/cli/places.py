"""The files that a run writes: refused where one is in the way, named when the run is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwire.cli.meter import counted
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from qwire.cli.resume import Point


@dataclass(frozen=True)
class Places:
    """Where a run writes.

    Attributes:
        output: what the result is called when it is complete; None is standard output.
        errors: what failed; None where it is not to be written down.
    """

    output: Path | None
    errors: Path | None

    @property
    def partial(self) -> Path:
        """What the result is called while it grows, and if it never is complete."""
        assert self.output is not None, "standard output has no other name: this is a bug"
        return self.output.with_name(self.output.name + ".partial")

    @property
    def state(self) -> Path:
        """What a run must know to go on with the partial result."""
        return self.partial.with_name(self.partial.name + ".json")

    @property
    def name(self) -> str:
        """Of the result, for people."""
        return "standard output" if self.output is None else str(self.output)

    @property
    def where_errors(self) -> str:
        """The end of a sentence that says how many there are."""
        return "" if self.errors is None else f": {self.errors}"

    @property
    def can_resume(self) -> bool:
        """Whether a run began here and did not come to its end."""
        if self.output is None or self.output.exists():
            return False
        return self.partial.exists() and self.state.exists()

    def check(self, point: Point) -> None:
        """See that the files hold what was written up to a point.

        Raises:
            InvalidRequestError: one of them does not.
        """
        for path, size in [(self.partial, point.output_bytes), (self.errors, point.error_bytes)]:
            if path is not None and size and (not path.exists() or path.stat().st_size < size):
                raise InvalidRequestError(
                    f"{path} is not what the run before left: begin anew with --overwrite"
                )

    def clear(self, *, overwrite: bool) -> None:
        """Take away what an earlier run left.

        Raises:
            InvalidRequestError: something is there, and `overwrite` is not asked for.
        """
        own = [] if self.output is None else [self.output, self.partial, self.state]
        found = [path for path in (*own, self.errors) if path is not None and path.exists()]
        if found and not overwrite:
            way = "--resume to go on, " if self.can_resume else ""
            raise InvalidRequestError(
                f"{found[0]} exists: {way}--overwrite to lose it, or move it away"
            )
        for path in found:
            if path != self.output:  # that one stays until there is a better one
                path.unlink()

    def complete(self) -> None:
        """Give the result its name."""
        if self.output is not None:
            self.partial.replace(self.output)
            self.state.unlink(missing_ok=True)

    def abandon(self, rows: int) -> str:
        """Leave a result that is not complete; says where it is."""
        if self.output is None:
            return f"{counted(rows, 'row')} written"
        if not rows:
            self.partial.unlink(missing_ok=True)
            self.state.unlink(missing_ok=True)
            return "nothing was written"
        return f"{counted(rows, 'row')} saved in {self.partial} (--resume goes on)"


def find_places(output: str, errors: str | None) -> Places:
    """What `--output` and `--errors` mean."""
    path = None if output == "-" else Path(output)
    if errors is not None:
        return Places(path, Path(errors))
    return Places(path, None if path is None else path.with_name(path.name + ".errors.jsonl"))
