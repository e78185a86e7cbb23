"""Room in the queue, as the event loop sees it: a `Desk` in this process."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qwire_server.engine import clock
from qwire_server.engine.queue.line import Line, Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.engine.queue.admission import Admission, Asker
    from qwire_server.engine.queue.quota import Quotas


class Room:
    """Admission and quotas, and the streams that wait for them."""

    def __init__(self, admission: Admission, quotas: Quotas) -> None:
        self.admission = admission
        self.quotas = quotas
        self._line: Line[asyncio.Future[Held]] = Line(admission, asyncio.Future.cancelled)

    def __repr__(self) -> str:
        return f"<Room {self.admission!r}, {len(self._line)} chunks wait>"

    async def take(self, asker: Asker, cost: int, deadline: float) -> Held:
        """See `Desk`."""
        return self.admit(asker, cost, deadline)

    def admit(self, asker: Asker, cost: int, deadline: float) -> Held:
        """`take`, without a wait."""
        now = clock.now()
        self.quotas.check(asker.client, now)
        self.admission.admit(asker, cost, now=now, deadline=deadline * 1e6)
        return Held(self, asker, cost)

    async def wait(self, asker: Asker, cost: int) -> Held:
        """See `Desk`."""
        while pause := self.quotas.wait(asker.client, clock.now()):  # noqa: ASYNC110  time earns it
            await asyncio.sleep(pause / 1e6)
        held: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        self._line.join(Place(asker, cost, held))
        self.let_in()
        try:
            return await held
        except asyncio.CancelledError:
            if not held.cancelled():
                held.result().release()
            raise

    @asynccontextmanager
    async def stream(self, client: str) -> AsyncIterator[None]:
        """See `Desk`."""
        self.open_stream(client)
        try:
            yield
        finally:
            self.close_stream(client)

    def open_stream(self, client: str) -> None:
        """Count a stream.

        Raises:
            QuotaExceeded: the client has too many.
        """
        self.quotas.open_stream(client, clock.now())

    def close_stream(self, client: str) -> None:
        """A counted stream ended."""
        self.quotas.close_stream(client)

    def stall(self, client: str) -> None:
        """See `Desk`."""
        self.quotas.stall(client)

    def unstall(self, client: str) -> None:
        """See `Desk`."""
        self.quotas.unstall(client)

    def let_in(self) -> None:
        """Let those go on who have room now."""
        for place in self._line.let_in(clock.now()):
            place.ticket.set_result(Held(self, place.asker, place.cost))


class Held:
    """What one work holds of a room; a `Hold`."""

    device = 0

    def __init__(self, room: Room, asker: Asker, cost: int) -> None:
        self.cost = cost
        self._room = room
        self._asker = asker
        self._open = True

    async def become(self, cost: int, tokens: int, deadline: float = math.inf) -> None:
        """See `Hold`."""
        self.change(cost, tokens, deadline)

    def change(self, cost: int, tokens: int, deadline: float = math.inf) -> None:
        """`become`, without a wait."""
        self._room.quotas.charge(self._asker.client, tokens, clock.now())
        if self._open:
            self._room.admission.change(self._asker, cost - self.cost)
            self.cost = cost
            self._room.let_in()
        if deadline < math.inf:
            self._room.admission.check_deadline(
                self._asker, now=clock.now(), deadline=deadline * 1e6
            )

    def answered(self, cost: int) -> None:
        """See `Hold`."""
        if self._open:
            part = min(cost, self.cost)
            self.cost -= part
            self._room.admission.answered(self._asker, part, now=clock.now())
            self._room.let_in()

    def release(self) -> None:
        """See `Hold`."""
        if self._open:
            self._open = False
            self._room.admission.end(self._asker, self.cost)
            self.cost = 0
            self._room.let_in()
