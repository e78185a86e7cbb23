"""The line of those who wait to be let in: streams, which are slowed and never refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.engine.queue.admission import Admission, Asker

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """A chunk of a stream that waits for room.

    Attributes:
        asker: whose it is.
        cost: microseconds of device time, likely.
        ticket: whatever the caller knows it by.
    """

    asker: Asker
    cost: int
    ticket: T


class Line(Generic[T]):
    """First come, first served; one whose client has too much already holds up nobody else.

    Args:
        admission: where the room is.
        gone: whether nobody waits for a ticket any more.
    """

    def __init__(self, admission: Admission, gone: Callable[[T], bool]) -> None:
        self._admission = admission
        self._gone = gone
        self._places: list[Place[T]] = []

    def __len__(self) -> int:
        return len(self._places)

    def join(self, place: Place[T]) -> None:
        """Wait behind all who came before."""
        self._places.append(place)

    def let_in(self, now: int) -> list[Place[T]]:
        """Begin what there is room for now, and tell which."""
        if not self._places:
            return []
        waiting, self._places = self._places, []
        begun: list[Place[T]] = []
        for place in waiting:
            if self._gone(place.ticket):
                continue
            if self._admission.has_room(place.asker):
                self._admission.begin(place.asker, place.cost, now=now)
                begun.append(place)
            else:
                self._places.append(place)
        return begun
