"""`qwire info --watch`: a server's load, again and again, until Ctrl-C.

A terminal gets one screen that is drawn anew in place; a pipe gets a line for each look, or an
object. A server that goes away is waited for, once it has answered.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from qwire.cli.screen import as_object, one_line, screen
from qwire.errors import ConnectionFailedError, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from qwire.client import Client
    from qwire.errors import QwireError
    from qwire.stats import Stats

_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_LEAST_PATIENCE = 1.0  # seconds for an answer, however often it is asked


def watch(client: Client, seconds: float, *, as_json: bool) -> int:
    """Show the load every so many seconds.

    Returns:
        0, when whoever reads standard output has gone.

    Raises:
        QwireError: the server never answered, or refuses to.
    """
    before = client.stats()
    shown: _Shown = _Objects() if as_json else _Screen() if sys.stdout.isatty() else _Lines()
    try:
        shown.begin(client)
        while True:
            time.sleep(seconds)
            try:
                now = client.stats(timeout=max(seconds, _LEAST_PATIENCE))
            except (ConnectionFailedError, DeadlineExceededError) as error:
                shown.lost(error)
                continue
            shown.look(before, now)
            before = now
    except BrokenPipeError:
        # Python flushes standard output once more as it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        shown.end()


class _Shown:
    """What is shown, and how; this one shows nothing."""

    def begin(self, client: Client) -> None:
        """Before the first look."""

    def look(self, before: Stats, now: Stats) -> None:
        """Two looks: what is now, and what happened between them."""

    def lost(self, error: QwireError) -> None:
        """There was no answer."""

    def end(self) -> None:
        """After the last look, whatever ended it."""


class _Objects(_Shown):
    """A JSON object for each look; none where there was no answer."""

    def look(self, _before: Stats, now: Stats) -> None:
        print(as_object(now), flush=True)

    def lost(self, error: QwireError) -> None:
        print(f"qwire info: {error}", file=sys.stderr)


class _Lines(_Shown):
    """A line for each look, for files and pipes."""

    def look(self, before: Stats, now: Stats) -> None:
        print(_clock(), one_line(before, now), flush=True)

    def lost(self, error: QwireError) -> None:
        print(_clock(), f"no answer: {error}", flush=True)


class _Screen(_Shown):
    """One screen of a terminal, drawn over the last one without a flicker."""

    def begin(self, client: Client) -> None:
        self._client = client
        self._name = _name(client)
        self._lines: list[str] = []
        sys.stdout.write(_HIDE_CURSOR + _HOME + _TO_SCREEN_END)
        self._draw([self._title(), "", "..."])

    def look(self, before: Stats, now: Stats) -> None:
        if now.uptime_seconds < before.uptime_seconds:  # another process, perhaps another model
            self._name = _name(self._client, self._name)
        self._lines = list(screen(before, now))
        self._draw([self._title(), "", *self._lines])

    def lost(self, error: QwireError) -> None:
        self._draw([self._title(), f"no answer: {error}", *self._lines])

    def end(self) -> None:
        sys.stdout.write(_SHOW_CURSOR)
        sys.stdout.flush()

    def _title(self) -> str:
        return f"{self._name}   {_clock()}"

    def _draw(self, lines: Iterable[str]) -> None:
        _draw(sys.stdout, lines)


def _draw(out: TextIO, lines: Iterable[str]) -> None:
    """Fill the screen from its top; what does not fit is left out."""
    size = os.get_terminal_size(out.fileno())
    # A terminal that nobody has told its size says 0.
    width, height = size.columns or 80, size.lines or 24
    fitting = [line[:width] + _TO_LINE_END for line in list(lines)[: height - 1]]
    out.write(_HOME + "\n".join(fitting) + "\n" + _TO_SCREEN_END)
    out.flush()


def _name(client: Client, otherwise: str = "") -> str:
    """What is watched."""
    try:
        found = client.describe(refresh=True, timeout=_LEAST_PATIENCE)
    except (ConnectionFailedError, DeadlineExceededError):
        return otherwise
    model = found.model or (found.reranker.model if found.reranker else "")
    return f"{model} on {found.device}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")
