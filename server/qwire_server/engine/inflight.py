"""Everything that was accepted and is not yet answered: waiting, launched, or to be run again.

A monitor: each method takes the lock, so that the event loop and the engine's two threads may call
any of them. Runs nothing and answers nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine import clock
from qwire_server.engine.flight import Flight
from qwire_server.engine.queue.ahead import Ahead
from qwire_server.engine.queue.backlog import Backlog
from qwire_server.engine.queue.budget import Budget
from qwire_server.model.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwire_server.engine.queue.backlog import BatchLimits, Waiting
    from qwire_server.engine.queue.item import Entry, Item
    from qwire_server.engine.runner import Model


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the engine is; without work, or with other `moves` than before, it is not stuck.

    Attributes:
        busy: something is accepted and not answered.
        moves: steps of all batches so far.
        cost: microseconds that the batches under way should take.
    """

    busy: bool
    moves: int
    cost: int


class InFlight:
    """What the engine owes an answer.

    Args:
        models: by name.
        limits: of a batch.
    """

    def __init__(self, models: Mapping[str, Model], limits: BatchLimits) -> None:
        self._models = models
        self._changed = threading.Condition()
        # Mutable, guarded by _changed: all that follows.
        self._backlog = Backlog(limits)
        self._budget = Budget(limits.tokens)
        self._ahead = Ahead()
        self._flights: list[Flight] = []
        self._broken: deque[Flight] = deque()
        self._entries: dict[int, Entry] = {}
        self._closed = False
        self._failed = ""
        self._moves = 0

    def __repr__(self) -> str:
        return f"works {len(self._entries)} {self._backlog!r} {self._ahead!r} {self._budget!r}"

    def accept(self, entry: Entry, items: list[Item], now: int) -> str:
        """Take in the texts of one work; the reason if nothing is accepted any more."""
        with self._changed:
            stopped = self._failed or ("the server is stopping" if self._closed else "")
            if not stopped and items:
                self._entries[entry.work.key] = entry
                self._backlog.push(items, now)
                self._changed.notify()
            return stopped

    def forget(self, key: int) -> None:
        """Nobody waits for this work; what of it is not yet in a batch is never computed."""
        with self._changed:
            if entry := self._entries.pop(key, None):
                entry.gone = True

    def waiting(self) -> list[Waiting]:
        """What waits now, by class and client."""
        with self._changed:
            return self._backlog.waiting()

    @property
    def has_failed(self) -> bool:
        """Whether all was given away."""
        return bool(self._failed)

    def progress(self) -> Progress:
        """How far the engine is."""
        with self._changed:
            busy = bool(self._flights or self._backlog) and not self._failed
            return Progress(busy, self._moves, sum(flight.cost for flight in self._flights))

    def moved(self) -> None:
        """A batch got one step further."""
        with self._changed:
            self._moves += 1

    def close(self) -> None:
        """Accept no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def next(self) -> Flight | None:
        """Block until a batch may be launched, or must be run again; None once all is answered."""
        with self._changed:
            while not self._failed:
                if self._broken:
                    return self._broken.popleft()
                delay = self._ahead.delay(clock.now()) if self._backlog else None
                if delay == 0 and (flight := self._take()):
                    return flight
                if self._closed and not self._backlog and not self._flights:
                    return None
                self._changed.wait(delay and delay / 1e6)
        return None

    def launched(self, flight: Flight) -> None:
        """Its launch returned just now."""
        with self._changed:
            self._moves += 1
            self._ahead.launched(flight.began, clock.now(), flight.cost)

    def landed(self, flight: Flight, ended: int) -> None:
        """The device is done with it, and free for what waits."""
        with self._changed:
            self._moves += 1
            self._ahead.finished(ended)
            self._budget.fitted(flight.tokens)
            self._changed.notify()

    def broke(self, flight: Flight, error: Exception) -> None:
        """Its launch failed, or it failed on the device: it is run again before any other."""
        with self._changed:
            self._moves += 1
            if flight.launched:
                self._ahead.finished(clock.now())
            if isinstance(error, OutOfMemory):
                self._budget.exceeded(flight.tokens)
            flight.error = error
            self._broken.append(flight)
            self._changed.notify()

    def settle(self, flight: Flight) -> bool:
        """Forget a batch, to answer it; False if `fail` gave it away before."""
        with self._changed:
            if flight not in self._flights:
                return False
            self._moves += 1
            self._flights.remove(flight)
            for item in flight.texts:
                item.entry.unanswered -= 1
                if not item.entry.unanswered:
                    self._entries.pop(item.entry.work.key, None)
            self._changed.notify()
            return True

    def fail(self, reason: str) -> list[Item] | None:
        """Accept nothing more and give away all texts that are unanswered; None if done before."""
        with self._changed:
            if self._failed:
                return None
            self._failed = reason
            items = [item for flight in self._flights for item in flight.texts]
            items += self._backlog.clear()
            self._flights.clear()
            self._entries.clear()
            self._changed.notify()
            return items

    def _take(self) -> Flight | None:
        """Form the next batch; None if nobody waits for what was waiting."""
        self._moves += 1
        now = clock.now()
        overhead = max(model.cost.forward() for model in self._models.values())
        overhead += self._ahead.remaining(now)
        taken = self._backlog.take(now, overhead, self._budget.tokens)
        if not taken.items and not taken.expired:
            return None
        model = self._models[(taken.items or taken.expired)[0].entry.work.model]
        cost = model.cost.forward() + sum(item.cost for item in taken.items)
        flight = Flight(taken, model, cost, now)
        self._flights.append(flight)
        return flight
