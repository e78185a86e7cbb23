"""One run of `qwire embed`, from a stream into files, however it ends. Knows no arguments."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from qwire.cli.meter import counted, rates
from qwire.cli.resume import Point
from qwire.errors import InvalidRequestError, QwireError
from qwire.failures import name_index
from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from qwire.cli.meter import Meter
    from qwire.cli.places import Places
    from qwire.cli.vectors_out import ErrorFile, Output
    from qwire.corpus.rows import Row
    from qwire.results import StreamItem


# So many rows at most are made again after a kill; after any other end, none.
_ROWS_PER_POINT = 64


class Stop(NamedTuple):
    """Why a run ended before its input did, and the exit status for it."""

    status: int
    why: str


class Run:
    """Writes rows, and after each knows a point to which all its files can be cut back.

    Args:
        places: where the files are.
        open_output: opens what gets each row, where an interrupt does no harm.
        errors: gets each text that failed.
        meter: is told of each row.
        point: where the run begins.
    """

    def __init__(
        self,
        places: Places,
        open_output: Callable[[], Output],
        errors: ErrorFile,
        meter: Meter,
        point: Point,
    ) -> None:
        self._places = places
        self._open_output = open_output
        self._output: Output | None = None
        self._errors = errors
        self._meter = meter
        self._point = point
        self._cut = 0  # texts longer than the model takes

    def pour(self, stream: Generator[StreamItem, None, None]) -> Stop | None:
        """Write what comes, to the end; None, or why the end was not reached."""
        stop = None
        try:
            output = self._output = self._open_output()
            self._point = replace(self._point, output_bytes=output.end)
            self._save()
            with closing(stream):
                for item in stream:
                    self._add(item, output)
        except BaseException as error:  # noqa: BLE001  what is unknown is raised again
            stop = stop_of(error)
        try:
            self._close()
        except OSError as error:  # the disk is full still
            stop = stop or stop_of(error)
        return stop

    def _add(self, item: StreamItem, output: Output) -> None:
        row: Row = item.id
        if item.error is None:
            output.add(row, item, None)
        else:
            error = row.error or name_index(str(item.error), row.index)
            output.add(row, item, error)
            self._errors.add(row, item.error.code, error)
        self._cut += item.truncated > 0
        self._meter.add(item.tokens, row.end)
        self._point = Point(
            self._point.settings,
            rows=row.index + 1,
            read=row.end,
            digest=row.digest.hex(),
            output_bytes=output.end,
            errors=self._errors.count,
            error_bytes=self._errors.end,
        )
        if self._point.rows % _ROWS_PER_POINT == 0:
            self._save()

    def _save(self) -> None:
        if self._places.output is not None:
            self._point.save(self._places.state)

    def _close(self) -> None:
        with uninterrupted():
            self._meter.clear()
            if self._output is None:
                return
            with ExitStack() as closing_all:  # whatever fails, the others are done, the last first
                closing_all.callback(self._save)
                closing_all.callback(self._errors.close, self._point.error_bytes)
                closing_all.callback(self._output.close, self._point.output_bytes)

    def report(self, stop: Stop | None, *, quiet: bool) -> int:
        """Name the result, say on stderr how the run went, and return its exit status."""
        places, point, meter = self._places, self._point, self._meter
        if stop is None:
            places.complete()
            status = 1 if point.errors else 0
            if not quiet:
                say(f"{rates(meter.texts, meter.tokens, meter.seconds)}: {places.name}")
        else:
            status = stop.status
            say(f"{stop.why}; {places.abandon(point.rows)}")
        if self._cut and not quiet:
            say(f"{counted(self._cut, 'text')} longer than the model takes: cut to fit")
        if point.errors:
            say(f"{counted(point.errors, 'text')} failed{places.where_errors}")
        return status


def stop_of(error: BaseException) -> Stop:
    """What an error means for a run; one that is a bug is raised again."""
    if isinstance(error, KeyboardInterrupt):
        return Stop(130, "interrupted")
    if isinstance(error, QwireError):
        return Stop(2 if isinstance(error, InvalidRequestError) else 1, str(error))
    if isinstance(error, OSError):
        return Stop(1, os_reason(error))
    raise error


def os_reason(error: OSError) -> str:
    """The reason that the operating system gave, with the file's name."""
    if isinstance(error, BrokenPipeError):
        return "whoever read standard output is gone"
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def say(words: str) -> None:
    """One line on stderr."""
    print(f"qwire embed: {words}", file=sys.stderr)
