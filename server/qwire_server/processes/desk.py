"""The supervisor's desk: lets work in for all fronts, and says which device does it.

One `Room` for the whole server, so bounds, fairness, deadlines and quotas are those of one process.
A machine with n devices works n times as fast, so a work is charged an nth of its device time.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.work import RequestClass
from qwire_server.errors import Unavailable
from qwire_server.processes.link import Answer, Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qwire_server.api.room import Held, Room
    from qwire_server.processes.link import Facts

_NO_DEVICE = "no device is ready: try again in a moment"


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


@dataclass(slots=True, eq=False)
class Guest:
    """A front that is connected, and what it holds; all of it is given back when it goes."""

    link: Link
    name: str = ""
    places: dict[int, _Place] = field(default_factory=dict)
    waiting: dict[int, asyncio.Task[Answer]] = field(default_factory=dict)
    streams: dict[int, str] = field(default_factory=dict)
    stalls: list[str] = field(default_factory=list)


class Desk:
    """Knows the fronts and the devices. Belongs to the supervisor's event loop.

    Args:
        room: of the whole server.
        changed: called when a device is ready or gone, or a front is open.

    Attributes:
        opened: what each front that ever opened serves, in words.
    """

    def __init__(self, room: Room, changed: Callable[[], None]) -> None:
        self.room = room
        self.guests: list[Guest] = []
        self.devices: list[Device] = []
        self.opened: list[str] = []
        self._changed = changed
        self._numbers = itertools.count(1)
        self._answers: dict[str, Callable[[Facts], Awaitable[Answer]]] = {}

    def __repr__(self) -> str:
        return f"<Desk {len(self.guests)} fronts, {len(self.devices)} devices, {self.room!r}>"

    def answer(self, what: str, how: Callable[[Facts], Awaitable[Answer]]) -> None:
        """Let fronts ask for something else, too."""
        self._answers[what] = how

    @property
    def links(self) -> dict[str, Link]:
        """To all processes that take part, by their names."""
        fronts = {guest.name: guest.link for guest in self.guests}
        return fronts | {device.name: device.link for device in self.devices}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to a process that has connected, until it is gone."""
        link = Link(
            reader,
            writer,
            told={
                "front": lambda facts, _body: self._meet_front(guest, facts["name"]),
                "look": lambda _facts, _body: link.tell("devices", devices=self._shown()),
                "open": lambda facts, _body: self._opened(facts["models"]),
                "device": lambda facts, _body: self._meet_device(link, facts),
                "answered": lambda facts, _body: self._answered(guest, facts),
                "release": lambda facts, _body: self._release(guest, facts),
                "close_stream": lambda facts, _body: self._close_stream(guest, facts),
                "stall": lambda facts, _body: self._stall(guest, facts["client"]),
                "unstall": lambda facts, _body: self._unstall(guest, facts["client"]),
                "become": lambda facts, _body: self._change(guest, facts),
            },
            asked={
                "take": lambda facts: self._take(guest, facts),
                "wait": lambda facts: self._wait(guest, facts),
                "become": lambda facts: self._become(guest, facts),
                "open_stream": lambda facts: self._open_stream(guest, facts),
                **self._answers,
            },
        )
        guest = Guest(link)
        try:
            await link.run()
        finally:
            self._forget(guest)

    def _meet_front(self, guest: Guest, name: str) -> None:
        guest.name = name
        self.guests.append(guest)
        guest.link.tell("devices", devices=self._shown())

    def _opened(self, models: str) -> None:
        self.opened.append(models)
        self._changed()

    def _meet_device(self, link: Link, facts: Facts) -> None:
        device = Device(next(self._numbers), facts["name"], link, facts["socket"], facts["models"])
        self.devices.append(device)
        self._tell_devices()

    def _forget(self, guest: Guest) -> None:
        """A process is gone: what it held is free, and what it offered is no more."""
        for task in guest.waiting.values():
            task.cancel()
        for number in list(guest.places):
            self._release(guest, {"hold": number})
        for number in list(guest.streams):
            self._close_stream(guest, {"stream": number})
        for client in list(guest.stalls):
            self._unstall(guest, client)
        if guest in self.guests:
            self.guests.remove(guest)
        gone = [device for device in self.devices if device.link is guest.link]
        for device in gone:
            self.devices.remove(device)
            self._tell_devices()

    def _tell_devices(self) -> None:
        for guest in self.guests:
            guest.link.tell("devices", devices=self._shown())
        self._changed()

    def _shown(self) -> list[Facts]:
        return [
            {"number": each.number, "socket": each.socket, "models": each.models}
            for each in self.devices
        ]

    def _lightest(self) -> Device:
        if not self.devices:
            raise Unavailable(_NO_DEVICE)
        return min(self.devices, key=lambda device: device.held)

    def _take(self, guest: Guest, facts: Facts) -> Answer:
        share = self._share()
        held = self.room.admit(_asker(facts), _part(facts["cost"], share), facts["deadline"])
        return self._place(guest, facts, held, share)

    def _wait(self, guest: Guest, facts: Facts) -> Awaitable[Answer]:
        """Known at once, since what is released may follow at once."""
        number = facts["hold"]
        task = guest.waiting[number] = asyncio.create_task(self._wait_for_room(guest, facts))
        task.add_done_callback(lambda _: guest.waiting.pop(number, None))
        return task

    async def _wait_for_room(self, guest: Guest, facts: Facts) -> Answer:
        share = self._share()
        held = await self.room.wait(_asker(facts), _part(facts["cost"], share))
        return self._place(guest, facts, held, share)

    def _share(self) -> int:
        return max(1, len(self.devices))

    def _place(self, guest: Guest, facts: Facts, held: Held, share: int) -> Answer:
        try:
            device = self._lightest()
        except Unavailable:
            held.release()
            raise
        cost: int = facts["cost"]
        device.held += cost
        guest.places[facts["hold"]] = _Place(held, device, share, cost)
        return Answer({"device": device.number})

    def _become(self, guest: Guest, facts: Facts) -> Answer:
        self._change(guest, facts)
        return Answer()

    def _change(self, guest: Guest, facts: Facts) -> None:
        place = guest.places[facts["hold"]]
        cost: int = facts["cost"]
        place.device.held += cost - place.cost
        place.cost = cost
        place.held.change(_part(cost, place.share), facts["tokens"], facts["deadline"])

    def _answered(self, guest: Guest, facts: Facts) -> None:
        if place := guest.places.get(facts["hold"]):
            part = min(facts["cost"], place.cost)
            place.cost -= part
            place.device.held -= part
            place.held.answered(_part(part, place.share))

    def _release(self, guest: Guest, facts: Facts) -> None:
        """Unknown if it was refused, or still waits."""
        if task := guest.waiting.pop(facts["hold"], None):
            task.cancel()
        if place := guest.places.pop(facts["hold"], None):
            place.device.held -= place.cost
            place.held.release()

    def _open_stream(self, guest: Guest, facts: Facts) -> Answer:
        client: str = facts["client"]
        self.room.open_stream(client)
        guest.streams[facts["stream"]] = client
        return Answer()

    def _close_stream(self, guest: Guest, facts: Facts) -> None:
        """Unknown if it was refused."""
        if (client := guest.streams.pop(facts["stream"], None)) is not None:
            self.room.close_stream(client)

    def _stall(self, guest: Guest, client: str) -> None:
        guest.stalls.append(client)
        self.room.stall(client)

    def _unstall(self, guest: Guest, client: str) -> None:
        guest.stalls.remove(client)
        self.room.unstall(client)


def _asker(facts: Facts) -> Asker:
    return Asker(facts["client"], RequestClass(facts["class"]))


def _part(cost: int, share: int) -> int:
    """Of a machine with `share` devices."""
    return max(1, cost // share)
