"""A process that the supervisor starts, and starts again."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

_LOG = logging.getLogger("qwire.server")
_SPAWN = multiprocessing.get_context("spawn")
_FIRST_PAUSE = 0.5  # seconds before a process is started again; doubled while it ends soon
_LONGEST_PAUSE = 30.0
_SOON = 60.0


class Child:
    """One process, and the one that takes its place.

    Args:
        name: of the process.
        main: what it runs, a function that another process can import; given the name first.
        rest: what else `main` is given.

    Attributes:
        process: that runs now, or ran last.
        tries: starts in a row that ended soon.
    """

    def __init__(self, name: str, main: Callable[..., None], *rest: Any) -> None:
        self.name = name
        self.process: SpawnProcess | None = None
        self.tries = 0
        self._main = main
        self._rest = rest
        self._since = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.is_alive()

    def start(self, ended: Callable[[Child], None]) -> None:
        """Start it; `ended` is told, in the event loop, when it has ended."""
        self._since = time.monotonic()
        self.process = process = _SPAWN.Process(
            target=self._main, args=(self.name, *self._rest), name=self.name, daemon=True
        )
        # A handler of ours is none of the child's, and SIGHUP would end it before it has its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        _LOG.info("%s is process %d", self.name, process.pid)
        loop = asyncio.get_running_loop()

        def reap() -> None:
            loop.remove_reader(process.sentinel)
            process.join()
            ended(self)

        loop.add_reader(process.sentinel, reap)

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process and self.process.is_alive():
            os.kill(self.process.pid or 0, number)

    def pause(self) -> float:
        """Seconds until it is worth another try."""
        self.tries = self.tries + 1 if time.monotonic() - self._since < _SOON else 1
        return min(_FIRST_PAUSE * 2.0 ** (self.tries - 1), _LONGEST_PAUSE)

    def how(self) -> str:
        """How it ended, in words."""
        code = self.process.exitcode if self.process else None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with status {code}"
