"""Room in the queue, as the event loop sees it: requests are refused, streams wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.engine.admission import Admission


class Room:
    """Admission, and the streams that wait for it.

    Args:
        admission: the bookkeeping.
        speed: tokens per second at which the queue drains now; 0 if not known yet.
    """

    def __init__(self, admission: Admission, speed: Callable[[], float]) -> None:
        self._admission = admission
        self._speed = speed
        self._line = asyncio.Lock()  # fair: first come, first served
        self._freed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Room {self._admission!r}>"

    def take(self, tokens: int) -> Held:
        """Reserve at once, or raise `Overloaded` or `RequestTooLarge`."""
        self._admission.reserve(tokens, tokens_per_second=self._speed())
        return Held(self, tokens)

    async def wait(self, tokens: int) -> Held:
        """Reserve as soon as streams may go on."""
        async with self._line:
            while not self._admission.has_room_for_stream(tokens):
                self._freed.clear()
                await self._freed.wait()
            self._admission.hold(tokens)
        return Held(self, tokens)

    def check_size(self, tokens: int) -> None:
        """Raise `RequestTooLarge` for what could never fit."""
        self._admission.check_size(tokens)

    def change(self, tokens: int) -> None:
        """Hold so many more, or less."""
        self._admission.hold(tokens)
        if tokens < 0:
            self._freed.set()


class Held:
    """Tokens that one work holds, given back part by part and never twice."""

    def __init__(self, room: Room, tokens: int) -> None:
        self._room = room
        self.tokens = tokens

    def become(self, tokens: int) -> None:
        """Replace an estimate by the true count."""
        self._room.change(tokens - self.tokens)
        self.tokens = tokens

    def release(self, tokens: int | None = None) -> None:
        """Give back so many tokens; all that are left if None."""
        part = self.tokens if tokens is None else min(tokens, self.tokens)
        self.tokens -= part
        self._room.change(-part)
