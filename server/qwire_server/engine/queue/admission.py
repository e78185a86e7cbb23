"""Who is let in: bounds on the device time that is accepted and not yet answered.

Pure bookkeeping for one thread, the front's. A text counts from the moment it is received: by an
estimate from its bytes until it is tokenised, by its true tokens after.

A client may hold as much of a class as is still free. Alone it fills half the queue, two fill a
third each, and however many are greedy, a newcomer finds room: the dynamic threshold of Choudhury
and Hahne, "Dynamic queue length thresholds for shared-memory packet switches" (1998), with a factor
of 1. What is let in may overshoot by itself, so no request is too large to ever be let in. A part
is kept for bulk, so that interactive requests that wait for room cannot keep it out for ever.

Work that waits for room (`line`) is counted here too, because its turn comes before that of later
work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine.work import RequestClass
from qwire_server.errors import DeadlineExceeded, Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

_BULK_PART = 0.75  # what is above it only interactive work may hold
_BULK_KEPT = 0.1  # what bulk may hold while interactive requests wait for every place
_MIN_WAIT = 50_000  # microseconds
_MAX_WAIT = 30_000_000
_MEASURED = 1_000_000  # microseconds after which a client's own rate is worth something
_LATELY = 4_000_000  # after so many, what was measured counts half


@dataclass(slots=True)
class Load:
    """Device time of one client in one class: held, waiting, and answered since some moment.

    Attributes:
        cost: microseconds that were let in and are not answered.
        waiting: microseconds that wait for room.
        works: requests of both kinds.
    """

    cost: int = 0
    waiting: int = 0
    works: int = 0
    answered: int = 0
    since: int = 0

    def answer(self, cost: int, now: int) -> None:
        """So much was computed."""
        self.answered += cost
        if now - self.since > _LATELY:
            self.since += (now - self.since) // 2
            self.answered -= self.answered // 2

    def wait(self, own: int, now: int) -> int:
        """Microseconds until so much is answered, at the rate of late; 0 if there is none yet."""
        elapsed = now - self.since
        return own * elapsed // self.answered if elapsed >= _MEASURED and self.answered else 0


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose work it is, for the bookkeeping."""

    client: str
    request_class: RequestClass


class Admission:
    """Device time accepted and not yet answered, by class and client.

    Attributes:
        bound: most of it, in microseconds.
        held: now.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.held = 0
        self._loads: dict[RequestClass, dict[str, Load]] = {c: {} for c in RequestClass}
        self._class_held = dict.fromkeys(RequestClass, 0)
        self._class_waiting = dict.fromkeys(RequestClass, 0)
        self._works = 0
        self._next_slot = 0

    def __repr__(self) -> str:
        return f"<Admission {self.held / 1e6:.3f} of {self.bound / 1e6:.3f} s>"

    def has_room(self, asker: Asker) -> bool:
        """Whether this client may add something now."""
        return self._excess(asker) < 0

    def is_full(self, request_class: RequestClass) -> bool:
        """Whether no client may add something of this class now."""
        return bool(self.held) and self._free(request_class) <= 0

    def expected_wait(self, asker: Asker, cost: int, *, now: int) -> int:
        """Microseconds until a request that comes now has its turn, behind all that waits too."""
        wait = self._until_answered(asker, cost, now, 0) - cost
        if (excess := self._excess(asker)) >= 0:
            wait = max(wait, excess + self._waits_before(asker, cost))
        return wait

    def check_arrival(
        self, asker: Asker, cost: int, *, now: int, deadline: float, is_strict: bool = False
    ) -> None:
        """Refuse a request that would be answered too late, before anything is held for it.

        Its own cost is still an estimate from its bytes, so the deadline is compared with the work
        before it only.

        Args:
            asker: client and class.
            cost: microseconds of device time.
            now: microseconds.
            deadline: the same clock; infinity if there is none.
            is_strict: see `check_deadline`.

        Raises:
            DeadlineExceeded: with what waits before it, it cannot be answered in time.
        """
        if self.has_room(asker):
            wait = self._until_answered(asker, cost, now, deadline - now) - cost
        else:
            wait = self.expected_wait(asker, cost, now=now)
        self._check(wait, now, deadline, others=is_strict or self._works)

    def overloaded(self, asker: Asker, cost: int, why: str, *, now: int) -> Overloaded:
        """The error for a request that may not wait, with a time to come back.

        Args:
            asker: client and class.
            cost: microseconds of device time.
            why: the reason, as the beginning of a sentence.
            now: microseconds.
        """
        wait = self._place_in_line(max(0, self._excess(asker)), cost, now) - now
        return Overloaded(f"{why}: try again in {wait / 1e6:.2f} s", retry_after=wait / 1e6)

    def check_deadline(
        self, asker: Asker, *, now: int, deadline: float, is_strict: bool = False
    ) -> None:
        """Refuse a request that is held, once its true cost is known.

        Args:
            asker: client and class.
            now: microseconds.
            deadline: the same clock.
            is_strict: the caller has a better way than to wait past the deadline. Otherwise a
                request that is alone on the device is tried, whatever the estimate.

        Raises:
            DeadlineExceeded: it cannot be answered in time.
        """
        wait = self._until_answered(asker, 0, now, deadline - now)
        self._check(wait, now, deadline, others=is_strict or self._works - 1)

    def begin(self, asker: Asker, cost: int, *, now: int) -> None:
        """Hold so much for one more work, whatever the bound."""
        self._load(asker, now).works += 1
        self._works += 1
        self.change(asker, cost)

    def wait(self, asker: Asker, cost: int, *, now: int) -> None:
        """One more request waits for room."""
        load = self._load(asker, now)
        load.works += 1
        load.waiting += cost
        self._works += 1
        self._class_waiting[asker.request_class] += cost

    def wait_no_more(self, asker: Asker, cost: int) -> None:
        """A request has left the line."""
        self._loads[asker.request_class][asker.client].waiting -= cost
        self._class_waiting[asker.request_class] -= cost
        self._forget_one(asker)

    def change(self, asker: Asker, cost: int) -> None:
        """Hold so much more for a work that began; negative gives back."""
        load = self._loads[asker.request_class][asker.client]
        load.cost += cost
        self._class_held[asker.request_class] += cost
        self.held += cost
        assert load.cost >= 0, "more given back than was held: this is a bug"

    def answered(self, asker: Asker, cost: int, *, now: int) -> None:
        """Give back what was computed, and remember how fast this client is served."""
        self.change(asker, -cost)
        self._loads[asker.request_class][asker.client].answer(cost, now)

    def end(self, asker: Asker, cost: int) -> None:
        """A work is over; give back what it still held."""
        self.change(asker, -cost)
        self._forget_one(asker)
        if not self.held:
            self._next_slot = 0  # later times that refused callers were given no longer matter

    def _load(self, asker: Asker, now: int) -> Load:
        return self._loads[asker.request_class].setdefault(asker.client, Load(since=now))

    def _forget_one(self, asker: Asker) -> None:
        loads = self._loads[asker.request_class]
        load = loads[asker.client]
        load.works -= 1
        self._works -= 1
        if not load.works:
            assert not load.cost, "a work ended that still held something: this is a bug"
            assert not load.waiting, "a request ended that still waits: this is a bug"
            del loads[asker.client]

    def class_held(self, request_class: RequestClass) -> int:
        """Microseconds held in one class."""
        return self._class_held[request_class]

    def loads(self) -> Iterator[tuple[Asker, Load]]:
        """Every client that holds something."""
        for request_class, loads in self._loads.items():
            for client, load in loads.items():
                yield Asker(client, request_class), load

    def _free(self, request_class: RequestClass) -> int:
        """Microseconds that may be added to a class; zero or less if it is full."""
        bulk_bound = int(self.bound * _BULK_PART)
        bulk = self._class_held[RequestClass.BULK]
        if request_class is RequestClass.BULK:
            waits = bool(self._class_waiting[RequestClass.INTERACTIVE])
            return max(bulk_bound - self.held, int(self.bound * _BULK_KEPT) - bulk if waits else 0)
        # One chunk may overshoot bulk's part by far on a slow device: the rest is kept.
        return self.bound - self.held + max(0, bulk - bulk_bound)

    def _excess(self, asker: Asker) -> int:
        """Microseconds that must be answered before this client may add something; -1 if none."""
        free = self._free(asker.request_class)
        load = self._loads[asker.request_class].get(asker.client)
        own = load.cost if load else 0
        if own < free or not self.held:
            return -1
        return max(-free, own - free)

    def _place_in_line(self, excess: int, cost: int, now: int) -> int:
        """When a refused request should come back: behind those that were refused before it.

        So those who were turned away return one after the other, as fast as the device works, and
        not all at once.
        """
        slot = max(now + excess, self._next_slot)
        slot = min(max(slot, now + _MIN_WAIT), now + _MAX_WAIT)
        self._next_slot = min(slot + cost, now + _MAX_WAIT)
        return slot

    def _check(self, wait: int, now: int, deadline: float, *, others: bool | int) -> None:
        # Alone on an idle device a request is tried, whatever the estimate: else an estimate that
        # is too high would refuse everything, and never be corrected.
        if others and now + wait > deadline:
            raise DeadlineExceeded(
                f"the deadline is {max(0, deadline - now) / 1e6:.3f} s away and the work before "
                f"this request takes {wait / 1e6:.3f} s: allow it more time, send less at once, or "
                "use a stream"
            )

    def _until_answered(self, asker: Asker, cost: int, now: int, enough: float) -> int:
        """Microseconds until all that this client has here, and so much more, is answered.

        Clients take turns, so each of the others goes first with no more than this one has. What
        will yet come goes first too, if its client has less: that shows in the rate of late.

        Args:
            asker: the client and the class.
            cost: what comes on top.
            now: microseconds.
            enough: an upper bound at most this is as good as the estimate.
        """
        before = 0
        if asker.request_class is RequestClass.BULK:
            before = self._class_all(RequestClass.INTERACTIVE)
        loads = self._loads[asker.request_class]
        load = loads.get(asker.client, Load())
        own = load.cost + load.waiting + cost
        line = before + self._class_all(asker.request_class) + cost
        if line > enough:
            others = (
                min(other.cost + other.waiting, own)
                for other in loads.values()
                if other is not load
            )
            line = before + sum(others) + own
        return max(line, load.wait(own, now))

    def _waits_before(self, asker: Asker, cost: int) -> int:
        """Microseconds of work that wait for room and get it before one that comes now."""
        before = 0
        if asker.request_class is RequestClass.BULK:
            before = self._class_waiting[RequestClass.INTERACTIVE]
        loads = self._loads[asker.request_class]
        load = loads.get(asker.client, Load())
        own = load.waiting + cost
        others = (min(other.waiting, own) for other in loads.values() if other is not load)
        return before + load.waiting + sum(others)

    def _class_all(self, request_class: RequestClass) -> int:
        """Microseconds that are held or wait in one class."""
        return self._class_held[request_class] + self._class_waiting[request_class]
