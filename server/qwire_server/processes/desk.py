"""The supervisor's desk: lets work in for all fronts, and says which device does it.

One `Room` for the whole server, so bounds, fairness, deadlines and quotas are those of one process.
A machine with n devices works n times as fast, so a work is charged an nth of its device time.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from qwire_server.errors import Unavailable
from qwire_server.processes.carried import fingerprints
from qwire_server.processes.guest import Device, Guest
from qwire_server.processes.link import Answer, Link

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from qwire_server.api.room import Room
    from qwire_server.processes.link import Asked, Facts

_LOG = logging.getLogger("qwire.server")
_NO_DEVICE = "no device is ready: try again in a moment"


class Desk:
    """Knows the fronts and the devices. Belongs to the supervisor's event loop.

    Args:
        room: of the whole server.
        changed: called when a device is ready or gone, or a front is open.

    Attributes:
        fronts: those that are connected, by name.
        devices: those that are ready.
        opened: what each front that ever opened serves, in words.
    """

    def __init__(self, room: Room, changed: Callable[[], None]) -> None:
        self.room = room
        self.fronts: dict[str, Link] = {}
        self.devices: list[Device] = []
        self.opened: list[str] = []
        self._changed = changed
        self._numbers = itertools.count(1)
        self._fingerprints: list[str] = []  # of the first device
        self._answers: dict[str, Asked] = {}

    def __repr__(self) -> str:
        return f"<Desk {len(self.fronts)} fronts, {len(self.devices)} devices, {self.room!r}>"

    def answer(self, what: str, how: Asked) -> None:
        """Let fronts ask for something else, too."""
        self._answers[what] = how

    @property
    def links(self) -> dict[str, Link]:
        """To all processes that take part, by their names."""
        return self.fronts | {device.name: device.link for device in self.devices}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to a process that has connected, until it is gone."""
        guest = Guest(self.room, self.devices, self._lightest)
        link = Link(
            reader,
            writer,
            told={
                "front": lambda facts, _: self._meet_front(link, facts["name"]),
                "look": lambda _facts, _: self._show(link),
                "open": lambda facts, _: self._opened(facts["models"]),
                "device": lambda facts, _: self._meet_device(link, facts),
                **guest.told,
            },
            asked={
                "models": lambda _: Answer(self._lightest().models),
                **guest.asked,
                **self._answers,
            },
        )
        try:
            await link.run()
        finally:
            guest.leave()
            self._forget(link)

    def _meet_front(self, link: Link, name: str) -> None:
        self.fronts[name] = link
        self._show(link)

    def _opened(self, models: str) -> None:
        self.opened.append(models)
        self._changed()

    def _meet_device(self, link: Link, facts: Facts) -> None:
        found = fingerprints(facts["models"])
        if self._fingerprints and found != self._fingerprints:
            _LOG.error(
                "%s has a model with another fingerprint than this server began with: its files "
                "have changed; restart the server, or put them back",
                facts["name"],
            )
            link.close()  # which ends its process: vectors of two models must not be mixed
            return
        self._fingerprints = found
        number = next(self._numbers)
        self.devices.append(Device(number, facts["name"], link, facts["socket"], facts["models"]))
        self._tell()

    def _forget(self, link: Link) -> None:
        """A process is gone, and what it offered is no more."""
        for name in [name for name, each in self.fronts.items() if each is link]:
            del self.fronts[name]
        for device in [device for device in self.devices if device.link is link]:
            self.devices.remove(device)
            self._tell()

    def _tell(self) -> None:
        """Devices have changed."""
        for link in self.fronts.values():
            self._show(link)
        self._changed()

    def _show(self, link: Link) -> None:
        shown = [{"number": each.number, "socket": each.socket} for each in self.devices]
        link.tell("devices", devices=shown)

    def _lightest(self) -> Device:
        if not self.devices:
            raise Unavailable(_NO_DEVICE)
        return min(self.devices, key=lambda device: device.held)
