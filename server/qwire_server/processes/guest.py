"""One process that is connected to the desk, and what it holds there until it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.queue.line import Patience
from qwire_server.engine.work import RequestClass
from qwire_server.processes.link import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qwire_server.api.room import Held, Room
    from qwire_server.processes.link import Asked, Facts, Link, Told


@dataclass(slots=True, eq=False)
class Device:
    """An engine's process that is ready.

    Attributes:
        number: never given twice, so that what was held for one that ended is not taken for
            another's.
        socket: path where it takes works.
        models: see `carried.pack_models`.
        held: microseconds of device time that works hold there.
    """

    number: int
    name: str
    link: Link
    socket: str
    models: Facts
    held: int = 0


@dataclass(slots=True, eq=False)
class _Place:
    """What one work holds: a part of the room, and of a device."""

    held: Held
    device: Device
    share: int  # devices that there were
    cost: int


class Guest:
    """Answers a front; gives back what it holds when it goes.

    Args:
        room: of the whole server.
        devices: that there are now; changed by the desk.
        lightest: which of them should get the next work; raises `Unavailable` without any.
    """

    def __init__(self, room: Room, devices: list[Device], lightest: Callable[[], Device]) -> None:
        self._room = room
        self._devices = devices
        self._lightest = lightest
        self._places: dict[int, _Place] = {}
        self._waiting: dict[int, asyncio.Task[Answer]] = {}
        self._streams: dict[int, str] = {}
        self._stalls: list[str] = []

    @property
    def told(self) -> Mapping[str, Told]:
        """What is done with what it tells."""
        return {
            "become": lambda facts, _: self._become(facts),
            "answered": lambda facts, _: self._answered(facts),
            "release": lambda facts, _: self._release(facts["hold"]),
            "close_stream": lambda facts, _: self._close_stream(facts["stream"]),
            "stall": lambda facts, _: self._stall(facts["client"]),
            "unstall": lambda facts, _: self._unstall(facts["client"]),
        }

    @property
    def asked(self) -> Mapping[str, Asked]:
        """How it is answered."""
        return {
            "take": self._take,
            "become": self._become_or_refuse,
            "open_stream": self._open_stream,
        }

    def leave(self) -> None:
        """It is gone: what it held is free."""
        for task in self._waiting.values():
            task.cancel()
        for number in list(self._places):
            self._release(number)
        for number in list(self._streams):
            self._close_stream(number)
        for client in list(self._stalls):
            self._unstall(client)

    def _take(self, facts: Facts) -> Awaitable[Answer]:
        """Known at once, since what is released may follow at once."""
        number = facts["hold"]
        task = self._waiting[number] = asyncio.create_task(self._wait_for_room(facts))
        task.add_done_callback(lambda _: self._waiting.pop(number, None))
        return task

    async def _wait_for_room(self, facts: Facts) -> Answer:
        share = self._share()
        cost = _part(facts["cost"], share)
        if facts["size"]:
            held = await self._room.take(_asker(facts), cost, facts["size"], _patience(facts))
        else:
            held = await self._room.wait(_asker(facts), cost)
        return self._place(facts, held, share)

    def _share(self) -> int:
        return max(1, len(self._devices))

    def _place(self, facts: Facts, held: Held, share: int) -> Answer:
        try:
            device = self._lightest()
        except BaseException:
            held.release()
            raise
        cost: int = facts["cost"]
        device.held += cost
        self._places[facts["hold"]] = _Place(held, device, share, cost)
        return Answer({"device": device.number})

    def _become_or_refuse(self, facts: Facts) -> Answer:
        self._become(facts)
        return Answer()

    def _become(self, facts: Facts) -> None:
        place = self._places[facts["hold"]]
        cost: int = facts["cost"]
        place.device.held += cost - place.cost
        place.cost = cost
        place.held.change(_part(cost, place.share), facts["tokens"], _patience(facts))

    def _answered(self, facts: Facts) -> None:
        place = self._places[facts["hold"]]
        part = min(facts["cost"], place.cost)
        place.cost -= part
        place.device.held -= part
        place.held.answered(_part(part, place.share))

    def _release(self, number: int) -> None:
        """Nothing is held if it was refused, or waits yet."""
        if task := self._waiting.pop(number, None):
            task.cancel()
        if place := self._places.pop(number, None):
            place.device.held -= place.cost
            place.held.release()

    def _open_stream(self, facts: Facts) -> Answer:
        client: str = facts["client"]
        self._room.open_stream(client)
        self._streams[facts["stream"]] = client
        return Answer()

    def _close_stream(self, number: int) -> None:
        """Nothing is open if it was refused."""
        if (client := self._streams.pop(number, None)) is not None:
            self._room.close_stream(client)

    def _stall(self, client: str) -> None:
        self._stalls.append(client)
        self._room.stall(client)

    def _unstall(self, client: str) -> None:
        self._stalls.remove(client)
        self._room.unstall(client)


def _asker(facts: Facts) -> Asker:
    return Asker(facts["client"], RequestClass(facts["class"]))


def _patience(facts: Facts) -> Patience:
    return Patience(*facts["patience"])


def _part(cost: int, share: int) -> int:
    """Of a machine with `share` devices."""
    return max(1, cost // share)
