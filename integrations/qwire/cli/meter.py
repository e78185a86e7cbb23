"""Tells on stderr how far a long run is: a line rewritten on a terminal, else one now and then."""

from __future__ import annotations

import sys
import time

_TERMINAL_SECONDS = 0.2
_PLAIN_SECONDS = 10.0


class Meter:
    """Counts texts and tokens, and says so from time to time.

    Args:
        total: units of work in all; None where nobody knows.
        start: units that an earlier run has done.
        quiet: say nothing.

    Attributes:
        texts: answered so far.
        tokens: computed so far.
    """

    def __init__(self, total: int | None, *, start: int = 0, quiet: bool = False) -> None:
        self.texts = 0
        self.tokens = 0
        self._total = total
        self._start = start
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._pause = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        self._next = float("inf") if quiet else self._began + self._pause
        self._width = 0  # of the line that stands on the terminal

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def add(self, tokens: int, done: int, texts: int = 1) -> None:
        """One more text is answered, or several.

        Args:
            tokens: of the text.
            done: units of work so far, those of an earlier run included.
            texts: how many.
        """
        self.texts += texts
        self.tokens += tokens
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._pause
            how_far = None if self._total is None else (self._start, done, self._total)
            self._say(progress(self.texts, self.tokens, self.seconds, how_far))

    def clear(self) -> None:
        """Take the line off the terminal."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0

    def _say(self, line: str) -> None:
        if self._terminal:
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def progress(texts: int, tokens: int, seconds: float, how_far: tuple[int, int, int] | None) -> str:
    """How far a run is; the time left supposes that the rest goes like what is done.

    Args:
        texts: answered.
        tokens: computed.
        seconds: since the beginning.
        how_far: units of work at the beginning, now, and in the end; None where nobody knows.
    """
    line = rates(texts, tokens, seconds)
    if how_far is None or how_far[1] <= how_far[0]:
        return line
    start, done, total = how_far
    left = seconds * (total - done) / (done - start)
    return f"{line}, {100 * done // total} %, {clock(left)} left"


def rates(texts: int, tokens: int, seconds: float) -> str:
    """Counts, and how fast they grew."""
    seconds = seconds or 1.0
    words = counted(texts, "text")
    return f"{words}, {texts / seconds:,.0f} texts/s, {tokens / seconds:,.0f} tokens/s"


def clock(seconds: float) -> str:
    """`m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, thing: str) -> str:
    """`1 text`, `2 texts`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
