"""Room in the queue, as the event loop sees it: a `Desk` in this process."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qwire_server.engine import clock
from qwire_server.engine.queue.line import PATIENT, Line, Patience, Place, WaitLimits
from qwire_server.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.engine.queue.admission import Admission, Asker
    from qwire_server.engine.queue.quota import Quotas
    from qwire_server.errors import RequestError


class Room:
    """Admission and quotas, and everybody who waits for them.

    Args:
        admission: bound on device time.
        quotas: quotas of clients.
        limits: bounds of the requests that wait.
    """

    def __init__(
        self, admission: Admission, quotas: Quotas, limits: WaitLimits | None = None
    ) -> None:
        self.admission = admission
        self.quotas = quotas
        self.line: Line[asyncio.Future[Held]] = Line(admission, limits or WaitLimits())

    def __repr__(self) -> str:
        return f"<Room {self.admission!r}, {len(self.line)} wait>"

    async def take(self, asker: Asker, cost: int, size: int, patience: Patience) -> Held:
        """See `Desk`."""
        now = clock.now()
        self.quotas.check(asker.client, now)
        ticket: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        place = Place(asker, cost, ticket, max(1, size))
        if self.line.arrive(place, now, patience):
            return Held(self, asker, cost)
        return await self._wait_in_line(place, now, patience)

    async def wait(self, asker: Asker, cost: int) -> Held:
        """See `Desk`."""
        while pause := self.quotas.wait(asker.client, clock.now()):  # noqa: ASYNC110  time earns it
            await asyncio.sleep(pause / 1e6)
        ticket: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        place, now = Place(asker, cost, ticket), clock.now()
        self.line.join(place, now)
        return await self._wait_in_line(place, now, PATIENT)

    async def _wait_in_line(
        self, place: Place[asyncio.Future[Held]], since: int, patience: Patience
    ) -> Held:
        self.let_in()
        ticket, until = place.ticket, min(patience.deadline, since + patience.longest)
        timer = None
        if until < math.inf:
            seconds = max(0.0, (until - clock.now()) / 1e6)
            timer = ticket.get_loop().call_later(seconds, _end_wait, ticket)
        try:
            return await ticket
        except asyncio.TimeoutError:
            raise self._too_late(place, since, patience) from None
        except asyncio.CancelledError:
            if not ticket.cancelled() and not ticket.exception():
                ticket.result().release()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.line.leave(place)

    def _too_late(
        self, place: Place[asyncio.Future[Held]], since: int, patience: Patience
    ) -> RequestError:
        now = clock.now()
        waited = f"this request waited {(now - since) / 1e6:.1f} s for its turn"
        if now < patience.deadline:
            why = f"{waited}, as long as it may"
            return self.admission.overloaded(place.asker, place.cost, why, now=now)
        return DeadlineExceeded(f"{waited}, up to its deadline, and was not computed")

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
        for place in self.line.let_in(clock.now()):
            held = Held(self, place.asker, place.cost)
            if place.ticket.done():  # its caller has gone, and has not run since
                held.release()
            else:
                place.ticket.set_result(held)


class Held:
    """What one work holds of a room; a `Hold`."""

    device = 0

    def __init__(self, room: Room, asker: Asker, cost: int) -> None:
        self.cost = cost
        self._room = room
        self._asker = asker
        self._open = True

    async def become(self, cost: int, tokens: int, patience: Patience = PATIENT) -> None:
        """See `Hold`."""
        self.change(cost, tokens, patience)

    def change(self, cost: int, tokens: int, patience: Patience = PATIENT) -> None:
        """`become`, without a wait."""
        self._room.quotas.charge(self._asker.client, tokens, clock.now())
        if self._open:
            self._room.admission.change(self._asker, cost - self.cost)
            self.cost = cost
            self._room.let_in()
        if patience.deadline < math.inf:
            self._room.admission.check_deadline(
                self._asker,
                now=clock.now(),
                deadline=patience.deadline,
                is_strict=patience.is_strict,
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


def _end_wait(ticket: asyncio.Future[Held]) -> None:
    if not ticket.done():
        ticket.set_exception(asyncio.TimeoutError())
