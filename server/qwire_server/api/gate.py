"""Whether this server takes work: loading, serving, draining. The one thing that every front asks.

Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qwire_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.api.embedder import Embedder
    from qwire_server.checkpoint.progress import Progress


class Gate:
    """Holds the embedder once there is one, and tells those who care when the state changes.

    Args:
        progress: of the start.
    """

    def __init__(self, progress: Progress) -> None:
        self.draining = asyncio.Event()
        self._progress = progress
        self._embedder: Embedder | None = None
        self._reason = ""
        self._watchers: set[Callable[[], None]] = set()
        self._open_calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<Gate {self.reason or 'serving'!r}, {self._open_calls} calls>"

    @property
    def is_serving(self) -> bool:
        """Whether new work is taken."""
        return not self.reason

    @property
    def reason(self) -> str:
        """Why no work is taken; empty when it is."""
        if self._reason or self._embedder:
            return self._reason
        return f"{self._progress}: try again in a moment"

    @property
    def open_calls(self) -> int:
        """Calls that are not yet answered, streams included."""
        return self._open_calls

    def embedder(self) -> Embedder:
        """The way in.

        Raises:
            Unavailable: loading, draining or failed.
        """
        if self._embedder is None or self._reason:
            raise Unavailable(self.reason)
        return self._embedder

    def open(self, embedder: Embedder) -> None:
        """Loaded and warm: take work."""
        if not self.draining.is_set():
            self._embedder, self._reason = embedder, ""
            self._tell()

    def close(self, reason: str) -> None:
        """Take no more work; open calls go on."""
        self._reason = reason
        self.draining.set()
        self._tell()

    def entered(self) -> None:
        """A call began."""
        self._open_calls += 1
        self._idle.clear()

    def left(self) -> None:
        """A call was answered."""
        self._open_calls -= 1
        if not self._open_calls:
            self._idle.set()

    async def idle(self) -> None:
        """Return when no call is open."""
        await self._idle.wait()

    def watch(self, told: Callable[[], None]) -> None:
        """Call `told` whenever the state changes."""
        self._watchers.add(told)

    def unwatch(self, told: Callable[[], None]) -> None:
        """Stop calling `told`."""
        self._watchers.discard(told)

    def _tell(self) -> None:
        for told in list(self._watchers):
            told()
