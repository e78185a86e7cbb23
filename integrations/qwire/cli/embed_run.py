"""One run of `qwire embed`, from a stream into files, however it ends. Knows no arguments."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from qwire.cli.meter import counted, rates
from qwire.errors import InvalidRequestError, QwireError
from qwire.interrupt import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwire.cli.meter import Meter
    from qwire.cli.places import Places
    from qwire.cli.vectors_out import ErrorFile, Output
    from qwire.results import StreamItem


class Stop(NamedTuple):
    """Why a run ended before its input did, and the exit status for it."""

    status: int
    why: str


class Run:
    """Counts what it writes.

    Args:
        output: gets each row.
        errors: gets each text that failed.
        meter: is told of each row.
    """

    def __init__(self, output: Output, errors: ErrorFile, meter: Meter) -> None:
        self._output = output
        self._errors = errors
        self._meter = meter
        self._cut = 0  # texts longer than the model takes

    def pour(self, stream: Generator[StreamItem, None, None]) -> Stop | None:
        """Write what comes, to the end; None, or why the end was not reached."""
        stop = None
        try:
            with closing(stream):
                for item in stream:
                    self._add(item)
        except KeyboardInterrupt:
            stop = Stop(130, "interrupted")
        except QwireError as error:
            stop = Stop(2 if isinstance(error, InvalidRequestError) else 1, str(error))
        except BrokenPipeError:
            stop = Stop(1, "whoever read standard output is gone")
        except OSError as error:
            stop = Stop(1, str(error))
        self._close()
        return stop

    def _add(self, item: StreamItem) -> None:
        row, error = item.id, None
        if item.error is not None:
            error = row.error or str(item.error)
        self._output.add(row, item, error)
        if item.error is not None and error is not None:
            self._errors.add(row, item.error.code, error)
        self._cut += item.truncated > 0
        self._meter.add(item.tokens, row.end)

    def _close(self) -> None:
        with uninterrupted():
            self._meter.clear()
            try:
                self._output.close()
            finally:
                self._errors.close()

    def report(self, places: Places, stop: Stop | None, *, quiet: bool) -> int:
        """Name the result, say on stderr how the run went, and return its exit status."""
        if stop is None:
            places.complete()
            status = 1 if self._errors.count else 0
            if not quiet:
                meter = self._meter
                _say(f"{rates(meter.texts, meter.tokens, meter.seconds)}: {places.name}")
        else:
            status = stop.status
            _say(f"{stop.why}; {places.abandon(self._meter.texts)}")
        if self._cut and not quiet:
            _say(f"{counted(self._cut, 'text')} longer than the model takes: cut to fit")
        if self._errors.count:
            _say(f"{counted(self._errors.count, 'text')} failed{places.where_errors}")
        return status


def _say(words: str) -> None:
    print(f"qwire embed: {words}", file=sys.stderr)
