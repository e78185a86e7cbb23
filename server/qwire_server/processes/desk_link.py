"""A front's way to the desk; see `api.desk` and `processes.desk`."""

from __future__ import annotations

import itertools
import math
from contextlib import asynccontextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING

from qwire_server.engine.queue.line import PATIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.engine.queue.admission import Asker
    from qwire_server.engine.queue.line import Patience
    from qwire_server.processes.link import Facts, Link


class DeskLink:
    """A `Desk` in another process.

    Args:
        link: to it.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return "<DeskLink>"

    async def take(self, asker: Asker, cost: int, size: int, patience: Patience) -> LinkedHold:
        """See `Desk`."""
        return await self._hold(asker, cost, size, patience)

    async def wait(self, asker: Asker, cost: int) -> LinkedHold:
        """See `Desk`."""
        return await self._hold(asker, cost, 0, PATIENT)

    @asynccontextmanager
    async def stream(self, client: str) -> AsyncIterator[None]:
        """See `Desk`."""
        number = next(self._numbers)
        try:
            await self._link.ask("open_stream", stream=number, client=client)
            yield
        finally:
            self._link.tell("close_stream", stream=number)

    def stall(self, client: str) -> None:
        """See `Desk`."""
        self._link.tell("stall", client=client)

    def unstall(self, client: str) -> None:
        """See `Desk`."""
        self._link.tell("unstall", client=client)

    async def _hold(self, asker: Asker, cost: int, size: int, patience: Patience) -> LinkedHold:
        """A request has a size; a chunk of a stream has none, and is never refused."""
        hold = LinkedHold(self._link, next(self._numbers), cost)
        facts: Facts = {
            "hold": hold.number,
            "client": asker.client,
            "class": asker.request_class,
            "cost": cost,
            "size": size,
            "patience": astuple(patience),
        }
        try:
            answer = await self._link.ask("take", **facts)
        except BaseException:  # cancelled, too: it may be granted before the desk hears of that
            hold.release()
            raise
        hold.device = answer.facts["device"]
        return hold


class LinkedHold:
    """A `Hold` of which the desk keeps the books.

    Args:
        link: to the desk.
        number: that the desk knows it by.
        cost: microseconds.
    """

    device = 0

    def __init__(self, link: Link, number: int, cost: int) -> None:
        self.number = number
        self.cost = cost
        self._link = link
        self._open = True

    async def become(self, cost: int, tokens: int, patience: Patience = PATIENT) -> None:
        """See `Hold`."""
        self.cost = cost
        facts: Facts = {
            "hold": self.number,
            "cost": cost,
            "tokens": tokens,
            "patience": astuple(patience),
        }
        if patience.deadline < math.inf:
            await self._link.ask("become", **facts)
        else:
            self._link.tell("become", **facts)

    def answered(self, cost: int) -> None:
        """See `Hold`."""
        if self._open:
            part = min(cost, self.cost)
            self.cost -= part
            self._link.tell("answered", hold=self.number, cost=part)

    def release(self) -> None:
        """See `Hold`."""
        if self._open:
            self._open = False
            self.cost = 0
            self._link.tell("release", hold=self.number)
