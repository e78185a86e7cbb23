"""One run of `qwire embed` into parts, however it ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwire.cli.embed_run import say, stop_of
from qwire.cli.engines import open_maker
from qwire.cli.meter import Meter, counted, rates
from qwire.corpus.extras import parquet
from qwire.corpus.folder import Folder
from qwire.corpus.manifest import Manifest, refuse_changes
from qwire.corpus.parquet_in import id_type
from qwire.corpus.parts import Job
from qwire.corpus.plan import PART_ROWS, make_plan
from qwire.errors import ConnectionFailedError, DeadlineExceededError, InvalidRequestError

if TYPE_CHECKING:
    import argparse

    from qwire.cli.embed_run import Stop
    from qwire.corpus.makers import Maker
    from qwire.corpus.plan import Plan
    from qwire.corpus.rows import Form


def run_parts(options: argparse.Namespace, form: Form, words: dict[str, Any]) -> int:
    """Embed, say how it went, return the exit status.

    Raises:
        InvalidRequestError: something is wrong or in the way, and nothing was touched.
        QwireError: no server answers.
    """
    if options.errors is not None:
        raise InvalidRequestError("--errors: Parquet has a column `error`, leave it out")
    parquet()  # or say at once that it is missing
    folder = Folder(Path(options.output))
    before = folder.find(resume=options.resume, overwrite=options.overwrite)
    part_rows = options.part_rows or (before.settings["part_rows"] if before else PART_ROWS)
    plan = make_plan(options.input, form, part_rows)
    settings = {**asdict(form), **words, "part_rows": part_rows}
    manifest = Manifest({"sha256": plan.digest, "rows": plan.rows}, settings)
    if before:
        refuse_changes(
            {f"the input's {name}": value for name, value in before.input.items()},
            {f"the input's {name}": value for name, value in manifest.input.items()},
        )
        refuse_changes(before.settings, settings)
        manifest = before
    ids = id_type(options.input, form)
    job = Job(options.input, plan.seen, form, ids, folder.path, words, manifest.fingerprint)
    if folder.is_complete(manifest, plan):
        _compare_model(options, job)
        return _Run(folder, manifest, plan, quiet=options.quiet).report(None)
    with open_maker(options) as maker:
        run = _Run(folder, manifest, plan, quiet=options.quiet)
        stop = run.make(maker, job)
    return run.report(stop)


def _compare_model(options: argparse.Namespace, job: Job) -> None:
    """See that all rows, which are there, are those that this run would have made.

    Without a server there is nothing to compare with: whoever has all rows needs none.

    Raises:
        InvalidRequestError: they are of another model.
    """
    try:
        with open_maker(options) as maker:
            maker.check(job)
    except (ConnectionFailedError, DeadlineExceededError) as error:
        say(f"the model was not compared: {error}")


class _Run:
    """Keeps the manifest while parts are made."""

    def __init__(self, folder: Folder, manifest: Manifest, plan: Plan, *, quiet: bool) -> None:
        self._folder = folder
        self._manifest = manifest
        self._plan = plan
        self._quiet = quiet
        lost = folder.forget_missing(manifest, plan)
        if lost and not quiet:
            say(f"{counted(lost, 'part')} no longer as written: made again")
        self._rows = manifest.rows
        self._meter = Meter(plan.rows, start=self._rows, quiet=quiet)

    def make(self, maker: Maker, job: Job) -> Stop | None:
        """Make what is missing; None, or why it was not all made."""
        folder, manifest, plan = self._folder, self._manifest, self._plan
        try:
            folder.begin(manifest, plan)
            for done in maker.make(job, manifest.missing(plan), self._tick):
                manifest.add(done, folder.path)
            folder.complete(manifest, plan)
        except BaseException as error:  # noqa: BLE001  what is unknown is raised again
            return stop_of(error)
        finally:
            self._meter.clear()
        return None

    def report(self, stop: Stop | None) -> int:
        """Say on stderr how the run went; its exit status."""
        done = self._manifest.parts
        if stop is not None:
            # Ctrl-C may come when a part has its name already; a stopped cluster cleans nothing.
            with suppress(OSError):  # the disk is full still
                self._folder.keep(self._manifest, self._plan)
            say(f"{stop.why}; {self._saved()}")
        elif not self._quiet:
            meter = self._meter
            made = rates(meter.texts, meter.tokens, meter.seconds)
            if not meter.texts and self._plan.rows:
                made = f"all {counted(self._plan.rows, 'row')} were there before"
            say(f"{made}: {self._folder.output}")
        if (cut := sum(part.truncated for part in done)) and not self._quiet:
            say(f"{counted(cut, 'text')} longer than the model takes: cut to fit")
        if failed := sum(part.failed for part in done):
            say(f"{counted(failed, 'text')} failed: see the column `error`")
        if stop is not None:
            return stop.status
        return 1 if failed else 0

    def _tick(self, texts: int, tokens: int) -> None:
        self._rows += texts
        self._meter.add(tokens, self._rows, texts)

    def _saved(self) -> str:
        if not self._manifest.parts:
            self._folder.abandon()
            return "nothing was written"
        rows = counted(self._manifest.rows, "row")
        parts = f"{len(self._manifest.parts):,} of {counted(len(self._plan.parts), 'part')}"
        return f"{rows} saved in {parts} in {self._folder.path} (--resume goes on)"
