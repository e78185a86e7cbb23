"""The device and its worker thread: a batch when it is free, answers when the batch is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import random

    from benchmarks.queue.ledger import Ledger
    from benchmarks.queue.machines import Machine
    from benchmarks.queue.policy import Policy
    from benchmarks.queue.request import Request
    from benchmarks.queue.world import World
    from qwire_server.engine.queue.backlog import Taken
    from qwire_server.engine.queue.item import Item


class Server:
    """One device behind one policy.

    Args:
        noise: a forward takes exp(normal(0, noise)) times what it should.
    """

    def __init__(
        self,
        world: World,
        policy: Policy,
        machine: Machine,
        ledger: Ledger,
        *,
        rng: random.Random,
        noise: float,
    ) -> None:
        self.policy = policy
        self._world = world
        self._machine = machine
        self._ledger = ledger
        self._rng = rng
        self._noise = noise
        self._busy = False

    def wake(self) -> None:
        """Something waits: begin a batch, unless one is running."""
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        now = self._world.now
        taken = self.policy.take(now)
        for item in taken.expired:
            # Its caller's own timer, set for the same moment, ends it.
            assert item.entry.deadline <= now
        if taken.items:
            self._busy = True
            factor = self._rng.lognormvariate(0, self._noise) if self._noise else 1.0
            costs = [self._machine.text(item.tokens) for item in taken.items]
            overhead = round(self._machine.fixed * factor)
            took = overhead + round(sum(costs) * factor)
            self._ledger.batch(now, took, overhead, taken.fill)
            self._world.at(now + took, self._done, taken, costs, now)

    def _done(self, taken: Taken, costs: list[int], began: int) -> None:
        """The engine takes the next batch before the front hears of this one."""
        now, items = self._world.now, taken.items
        self.policy.computed([item.tokens for item in items], now - began)
        self._busy = False
        self._begin()
        first = 0
        while first < len(items):
            entry, last = items[first].entry, first + 1
            while last < len(items) and items[last].entry is entry:
                last += 1
            request = cast("Request", entry)
            self._answer(request, items[first:last], sum(costs[first:last]), began)
            first = last
        self.wake()

    def _answer(self, request: Request, items: list[Item], cost: int, began: int) -> None:
        now = self._world.now
        request.unanswered -= len(items)
        self._ledger.computed(request, cost, now)
        if request.end is None:  # else its caller has gone, and took everything back
            request.began = began
            self.policy.answered(request, len(items), sum(item.cost for item in items), now)
            request.caller.answered(request, len(items))
