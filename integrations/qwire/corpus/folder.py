"""Where parts are: in the folder that was asked for, or beside the one file they become."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire.corpus.extras import parquet
from qwire.corpus.manifest import NAME, Manifest, load_manifest
from qwire.corpus.part_file import asides, name_whole, open_writer
from qwire.errors import InvalidRequestError
from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    from pathlib import Path

    from qwire.corpus.manifest import Done
    from qwire.corpus.plan import Plan


@dataclass(frozen=True)
class Folder:
    """The output of a run.

    Attributes:
        output: a folder, or a file that ends in .parquet.
    """

    output: Path

    @property
    def is_file(self) -> bool:
        """Whether the parts become one file in the end."""
        return self.output.suffix.lower() == ".parquet"

    @property
    def path(self) -> Path:
        """Of the folder with the parts."""
        return self.output.with_name(self.output.name + ".partial") if self.is_file else self.output

    def find(self, *, resume: bool, overwrite: bool) -> Manifest | None:
        """What an earlier run left, if this one goes on with it.

        Raises:
            InvalidRequestError: something is in the way.
        """
        if self.output.is_dir() == self.is_file and self.output.exists():
            kind = "a folder" if self.is_file else "no folder"
            raise InvalidRequestError(f"{self.output} is {kind}: give the output another name")
        has_run = (self.path / NAME).exists()
        if self.is_file and self.output.exists() and not overwrite:
            raise InvalidRequestError(
                f"{self.output} exists: --overwrite to lose it, or move it away"
            )
        if has_run and resume:
            return load_manifest(self.path)
        if has_run and not overwrite:
            raise InvalidRequestError(
                f"{self.path} exists: --resume to go on, --overwrite to lose it, or move it away"
            )
        if not has_run and self.path.is_dir() and any(self.path.iterdir()):
            raise InvalidRequestError(
                f"{self.path} is not empty and no run of `qwire embed` made it: name another folder"
            )
        return None

    def begin(self, manifest: Manifest, plan: Plan) -> None:
        """Make the folder that of a run that goes on with `manifest`.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.keep(manifest, plan)
        manifest.complete = False
        manifest.save(self.path)

    def is_complete(self, manifest: Manifest, plan: Plan) -> bool:
        """Whether the last run ended well, and each part is there as it was written."""
        return manifest.complete and not self._lost(manifest, plan)

    def forget_missing(self, manifest: Manifest, plan: Plan) -> int:
        """Drop parts from the manifest that are not there as they were written; how many."""
        lost = self._lost(manifest, plan)
        manifest.parts = [done for done in manifest.parts if done not in lost]
        return len(lost)

    def complete(self, manifest: Manifest, plan: Plan) -> None:
        """All parts are there: make the one file if there is to be one, and say so.

        Raises:
            OSError: the file cannot be written.
        """
        if self.is_file:
            aside = self._join(plan)
            with uninterrupted():
                name_whole(aside, self.output)
                shutil.rmtree(self.path)
        else:
            self.keep(manifest, plan)  # an actor that was killed has left marks
            manifest.complete = True
            manifest.save(self.path)

    def keep(self, manifest: Manifest, plan: Plan) -> None:
        """Take away all but what `manifest` has: parts half written, or not yet written down."""
        kept = {plan.parts[done.number].name for done in manifest.parts}
        whole = [path for path in self.path.glob("part-*.parquet") if path.name not in kept]
        for path in [*asides(self.path), *whole]:
            path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Leave nothing of a run that made no part."""
        (self.path / NAME).unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def _lost(self, manifest: Manifest, plan: Plan) -> list[Done]:
        return [
            done
            for done in manifest.parts
            if not _has_size(self.path / plan.parts[done.number].name, done.size)
        ]

    def _join(self, plan: Plan) -> Path:
        """Copy row group by row group: memory holds one."""
        aside, files = self.path / ".whole", [self.path / part.name for part in plan.parts]
        with (
            parquet().ParquetFile(files[0]) as first,
            open_writer(aside, first.schema_arrow) as writer,
        ):
            for path in files:
                with parquet().ParquetFile(path) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group, use_threads=False))
        return aside


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size
