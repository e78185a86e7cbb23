"""Room in the queue, as the event loop sees it: requests are refused, streams wait."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qwire_server.engine import clock
from qwire_server.engine.queue.line import Line, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def take(self, asker: Asker, cost: int, deadline: float) -> Held:
        """Hold at once, or refuse.

        Args:
            asker: whose work it is.
            cost: microseconds of device time, likely.
            deadline: seconds on the monotonic clock.

        Raises:
            Overloaded, QuotaExceeded: there is no room now.
            DeadlineExceeded: there is, but it would come too late.
        """
        now = clock.now()
        self.quotas.check(asker.client, now)
        self.admission.admit(asker, cost, now=now, deadline=deadline * 1e6)
        return Held(self, asker, cost)

    async def wait(self, asker: Asker, cost: int) -> Held:
        """Hold as soon as the client's quota and the queue have room; never refuse."""
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

    @contextmanager
    def stream(self, client: str) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            QuotaExceeded: the client has too many.
        """
        self.quotas.open_stream(client, clock.now())
        try:
            yield
        finally:
            self.quotas.close_stream(client)

    def let_in(self) -> None:
        """Let those go on who have room now."""
        for place in self._line.let_in(clock.now()):
            place.ticket.set_result(Held(self, place.asker, place.cost))


class Held:
    """Device time that one work holds, given back part by part and never twice."""

    def __init__(self, room: Room, asker: Asker, cost: int) -> None:
        self.cost = cost
        self._room = room
        self._asker = asker
        self._open = True

    def become(self, cost: int, tokens: int) -> None:
        """Replace the estimate by what the true tokens cost, and charge them to the client."""
        self._room.quotas.charge(self._asker.client, tokens, clock.now())
        if self._open:
            self._room.admission.change(self._asker, cost - self.cost)
            self.cost = cost
            self._room.let_in()

    def check_deadline(self, deadline: float) -> None:
        """Refuse what cannot be answered in time.

        Args:
            deadline: seconds on the monotonic clock.

        Raises:
            DeadlineExceeded.
        """
        self._room.admission.check_deadline(self._asker, now=clock.now(), deadline=deadline * 1e6)

    def answered(self, cost: int) -> None:
        """A part was computed."""
        if self._open:
            part = min(cost, self.cost)
            self.cost -= part
            self._room.admission.answered(self._asker, part, now=clock.now())
            self._room.let_in()

    def release(self) -> None:
        """All was answered, or nobody waits for it any more."""
        if self._open:
            self._open = False
            self._room.admission.end(self._asker, self.cost)
            self.cost = 0
            self._room.let_in()
