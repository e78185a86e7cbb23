"""The line of those who wait to be let in: streams, which are slowed, and requests that have time.

Interactive work goes before bulk, clients of one class take turns, and what one client has waiting
goes first come, first served. A client that holds too much already holds up nobody else. Pure: it
knows no clock, and whoever waits is a ticket.

Requests that wait are bounded in number and bytes. One client may have as many waiting as there are
places left, as with the queue itself, so a newcomer finds a place however greedy the others are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from qwire_server.engine.queue.admission import Admission, Asker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """Bounds of the requests that wait; streams have bounds of their own.

    Attributes:
        requests: most at once, of all clients.
        size: most bytes of them.
    """

    requests: int = 4096
    size: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may wait.

    Attributes:
        deadline: microseconds on the clock of `now`; infinity if there is none.
        longest: most microseconds in the line, after which the request is refused. That is no
            reason to refuse it at once: an estimate may be wrong, a wait cannot be.
        is_strict: see `Admission.check_deadline`.
    """

    deadline: float = math.inf
    longest: float = math.inf
    is_strict: bool = False


PATIENT = Patience()


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """Somebody who waits for room.

    Attributes:
        asker: client and class.
        cost: microseconds of device time, as estimated.
        ticket: whatever the caller knows it by.
        size: bytes that a request holds in memory while it waits; 0 for a chunk of a stream.
    """

    asker: Asker
    cost: int
    ticket: T
    size: int = 0


class Line(Generic[T]):
    """Everybody who waits, by class and client.

    Args:
        admission: where the room is; told what waits, since that takes its turn before others.
        limits: bounds of the requests that wait.

    Attributes:
        requests: how many requests wait, streams not counted.
        size: bytes that they hold.
    """

    def __init__(self, admission: Admission, limits: WaitLimits) -> None:
        self.requests = 0
        self.size = 0
        self._admission = admission
        self._limits = limits
        # Of each class the clients in the order of their turns, and of each client its places in
        # the order in which they came. Dictionaries, since who leaves may stand anywhere.
        self._clients: dict[RequestClass, dict[str, dict[Place[T], None]]]
        self._clients = {each: {} for each in (RequestClass.INTERACTIVE, RequestClass.BULK)}
        self._sizes: dict[str, int] = {}  # bytes that each client's requests hold here

    def __len__(self) -> int:
        return sum(len(places) for each in self._clients.values() for places in each.values())

    def arrive(self, place: Place[T], now: int, patience: Patience) -> bool:
        """Begin a request if there is room (True), let it wait if it may (False), else refuse it.

        Args:
            place: the request, and who sent it.
            now: microseconds.
            patience: how long its caller waits.

        Raises:
            DeadlineExceeded: with what goes before it, it cannot be answered in time.
            Overloaded: too much waits already; `retry_after` is set.
        """
        admission, asker, cost = self._admission, place.asker, place.cost
        admission.check_arrival(
            asker, cost, now=now, deadline=patience.deadline, is_strict=patience.is_strict
        )
        waits_already = asker.client in self._clients[asker.request_class]
        if not waits_already and admission.has_room(asker):
            admission.begin(asker, cost, now=now)
            return True
        own = sum(len(each.get(asker.client, ())) for each in self._clients.values())
        size = self._sizes.get(asker.client, 0) + place.size
        if own >= self._limits.requests - self.requests or size > self._limits.size - self.size:
            why = (
                f"{self.requests} requests of {self.size} bytes wait here (limits "
                f"{self._limits.requests} and {self._limits.size}), {own} of them of this client, "
                "which may have as many waiting as there are places left"
            )
            raise admission.overloaded(asker, cost, why, now=now)
        self.join(place, now)
        return False

    def join(self, place: Place[T], now: int) -> None:
        """Wait behind what this client has waiting already."""
        clients = self._clients[place.asker.request_class]
        clients.setdefault(place.asker.client, {})[place] = None
        self._count(place, 1)
        self._admission.wait(place.asker, place.cost, now=now)

    def leave(self, place: Place[T]) -> None:
        """Wait no longer; nothing happens if the place was let in."""
        clients = self._clients[place.asker.request_class]
        places = clients.get(place.asker.client, {})
        if place not in places:
            return
        del places[place]
        if not places:
            del clients[place.asker.client]
        self._count(place, -1)
        self._admission.wait_no_more(place.asker, place.cost)

    def let_in(self, now: int) -> list[Place[T]]:
        """Begin what there is room for now, and return it."""
        begun: list[Place[T]] = []
        for request_class, clients in self._clients.items():
            turns = list(clients)
            while turns and not self._admission.is_full(request_class):
                turns = [
                    client for client in turns if self._let_one_in(clients, client, begun, now)
                ]
        return begun

    def _count(self, place: Place[T], sign: int) -> None:
        if not place.size:
            return  # a chunk of a stream
        self.requests += sign
        self.size += sign * place.size
        size = self._sizes.pop(place.asker.client, 0) + sign * place.size
        if size:
            self._sizes[place.asker.client] = size

    def _let_one_in(
        self,
        clients: dict[str, dict[Place[T], None]],
        client: str,
        begun: list[Place[T]],
        now: int,
    ) -> bool:
        """Begin the client's first place if it has room; whether another one may follow."""
        place = next(iter(clients[client]))
        if not self._admission.has_room(place.asker):
            return False
        self._admission.begin(place.asker, place.cost, now=now)
        self.leave(place)
        begun.append(place)
        if client not in clients:
            return False
        clients[client] = clients.pop(client)  # its next turn is after those of all others
        return True
