"""Whether this server takes work: loading, serving, draining. The one thing that every front asks.

Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qwire_server.errors import NotServed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.api.embedder import Embedder
    from qwire_server.api.reranker import Reranker
    from qwire_server.checkpoint.progress import Progress


class Gate:
    """Holds what serves once it is there, and tells those who care when the state changes.

    Args:
        progress: of the start.
    """

    def __init__(self, progress: Progress) -> None:
        self.draining = asyncio.Event()
        self._progress = progress
        self._embedder: Embedder | None = None
        self._reranker: Reranker | None = None
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
        if self._reason or self._embedder or self._reranker:
            return self._reason
        return f"{self._progress}: try again in a moment"

    @property
    def open_calls(self) -> int:
        """Calls that are not yet answered, streams included."""
        return self._open_calls

    def embedder(self) -> Embedder:
        """The way in for texts.

        Raises:
            Unavailable: loading, draining or failed.
            NotServed: nothing but a reranker is served.
        """
        self._check()
        if self._embedder is None:
            raise NotServed("this server has no embedding model: start one with --model")
        return self._embedder

    def reranker(self) -> Reranker:
        """The way in for a query and its documents.

        Raises:
            Unavailable: loading, draining or failed.
            NotServed: no reranker is served.
        """
        self._check()
        if self._reranker is None:
            raise NotServed(
                "this server has no reranker: start it with --reranker Qwen/Qwen3-Reranker-0.6B"
            )
        return self._reranker

    def models(self) -> tuple[Embedder | None, Reranker | None]:
        """What is served; one of the two at least.

        Raises:
            Unavailable: loading, draining or failed.
        """
        self._check()
        return self._embedder, self._reranker

    def open(self, embedder: Embedder | None, reranker: Reranker | None = None) -> None:
        """Loaded and warm: take work."""
        if not self.draining.is_set():
            self._embedder, self._reranker, self._reason = embedder, reranker, ""
            self._tell()

    def pause(self, reason: str) -> None:
        """Take no work until `open` is called again; open calls go on."""
        if not self.draining.is_set():
            self._embedder = self._reranker = None
            self._reason = reason
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

    def _check(self) -> None:
        if self.reason:
            raise Unavailable(self.reason)

    def _tell(self) -> None:
        for told in list(self._watchers):
            told()
