"""What a stream has received and nobody has taken yet, bounded; read by one task.

Messages that arrive together are taken together, so that a stream of single texts costs little more
than one of chunks. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc

from qwire_server.text.pool import SLICE_CHARS, SLICE_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.api.rpc.guard import Context

T = TypeVar("T")

# A status that meets a client in the middle of a write reaches it as INTERNAL (grpc.aio, measured),
# so a stream that fails is read on until its client has paused so long, but not for ever.
_PAUSE_SECONDS = 0.05
_PAUSE_TRIES = 40


class Arrivals(Generic[T]):
    """The reading half of a stream.

    Args:
        context: of the call.
        size: characters of a message, or what costs as much.
    """

    def __init__(self, context: Context, size: Callable[[T], int]) -> None:
        self._context = context
        self._size = size
        self._waiting: list[T] = []
        self._chars = 0
        self._received = 0
        self._error: Exception | None = None
        self._ended = False
        self._dropping = False
        self._changed = asyncio.Event()  # something arrived, or the end
        self._taken = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @property
    def is_full(self) -> bool:
        """Whether a whole slice waits; nothing is read until it is taken."""
        return len(self._waiting) >= SLICE_TEXTS or self._chars >= SLICE_CHARS

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    async def some(self) -> bool:
        """Wait until something waits to be taken; False at the end of the stream.

        Raises:
            Exception: the stream is broken, and all that came before was taken.
        """
        while not self._waiting and not self._ended:
            await self.changed()
        if self._error and not self._waiting:
            raise self._error
        return bool(self._waiting)

    async def changed(self) -> None:
        """Wait until something more arrives, or the stream ends, or `wake` is called."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let `changed` return."""
        self._changed.set()

    def take(self) -> list[T]:
        """All that waits, in its order."""
        taken, self._waiting, self._chars = self._waiting, [], 0
        self._taken.set()
        return taken

    def stop(self) -> None:
        """Take nothing more from the client: what comes from now on is dropped."""
        self._ended = self._dropping = True
        self._changed.set()
        self._taken.set()

    async def quiet(self) -> None:
        """Drop what comes until the client pauses or ends, so that a status can reach it."""
        self.stop()
        for _ in range(_PAUSE_TRIES):
            received = self._received
            done, _ = await asyncio.wait({self._reader}, timeout=_PAUSE_SECONDS)
            if done or received == self._received:
                return

    async def close(self) -> None:
        """End the reading task."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while (message := await self._context.read()) is not grpc.aio.EOF:
                self._received += 1
                if not self._dropping:
                    self._waiting.append(message)
                    self._chars += self._size(message)
                    self._changed.set()
                while self.is_full and not self._dropping:
                    self._taken.clear()
                    await self._taken.wait()
        except Exception as error:  # noqa: BLE001  the method tells it to the client
            self._error = error
        self._ended = True
        self._changed.set()
