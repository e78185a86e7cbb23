"""The server's policy, composed as `api.embedder`, `api.room`, `api.flow` and `engine` do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.engine.queue.admission import Admission
from qwire_server.engine.queue.backlog import Backlog, BatchLimits
from qwire_server.engine.queue.item import Item
from qwire_server.engine.queue.line import Line, Place
from qwire_server.errors import DeadlineExceeded

if TYPE_CHECKING:
    from benchmarks.queue.request import Request
    from qwire_server.engine.queue.backlog import Taken
    from qwire_server.engine.queue.cost import CostModel

QUEUE_SECONDS = 10  # the server's default
STREAM_BATCHES = 4  # the server's default


class Ours:
    """Two classes, deficit round robin, dynamic thresholds, deadlines.

    Args:
        limits: of a batch.
        cost: what the server believes of the device; learns.
        bound: device time let in and not yet answered, microseconds.
    """

    def __init__(
        self, limits: BatchLimits, cost: CostModel, bound: int = QUEUE_SECONDS * 1_000_000
    ) -> None:
        self.window = STREAM_BATCHES * limits.tokens
        self.admission = Admission(bound)
        self.backlog = Backlog(limits)
        self.cost = cost
        self._line: Line[Request] = Line(self.admission, lambda request: request.gone)

    def offer(self, request: Request, now: int) -> None:
        """As `Embedder.embed`: by bytes at the door, by tokens behind it."""
        cost, asker = self.cost.text, request.asker
        estimate = sum([cost(n) for n in request.guess])
        self.admission.admit(asker, estimate, now=now, deadline=request.deadline)
        costs = [cost(n) for n in request.tokens]
        request.held = sum(costs)
        self.admission.change(asker, request.held - estimate)
        try:
            self.admission.check_deadline(asker, now=now, deadline=request.deadline)
        except DeadlineExceeded:
            self._release(request, now)
            raise
        self._push(request, costs, now)

    def probe(self, request: Request, now: int) -> None:
        """Past both checks of the deadline."""
        costs = [self.cost.text(n) for n in request.tokens]
        request.held = sum(costs)
        self.admission.begin(request.asker, request.held, now=now)
        self._push(request, costs, now)

    def wait(self, request: Request, now: int) -> None:
        """As `Room.wait`."""
        estimate = sum([self.cost.text(n) for n in request.guess])
        self._line.join(Place(request.asker, estimate, request))
        self._let_in(now)

    def take(self, now: int) -> Taken:
        """As `Engine._next_batch`."""
        return self.backlog.take(now, self.cost.forward())

    def computed(self, tokens: list[int], took: int) -> None:
        """As `Engine._run`."""
        self.cost.learn(tokens, took)

    def answered(self, request: Request, texts: int, cost: int, now: int) -> None:
        """A stream gives back part by part, a request when all of it is answered."""
        del texts
        if request.streamed or not request.unanswered:
            part = min(cost, request.held) if request.unanswered else request.held
            request.held -= part
            self.admission.answered(request.asker, part, now=now)
        if request.unanswered:
            self._let_in(now)
        else:
            self._release(request, now)

    def cancel(self, request: Request, now: int) -> None:
        """As `Embedder.withdraw`."""
        request.gone = True
        self._release(request, now)

    def _release(self, request: Request, now: int) -> None:
        self.admission.end(request.asker, request.held)
        request.held = 0
        self._let_in(now)

    def _push(self, request: Request, costs: list[int], now: int) -> None:
        request.since = now
        sized = zip(request.tokens, costs, strict=True)
        self.backlog.push([Item(request, i, n, c) for i, (n, c) in enumerate(sized)], now)

    def _let_in(self, now: int) -> None:
        """As `Room.let_in`, then by tokens as `Flow._run`."""
        for place in self._line.let_in(now):
            request = place.ticket
            costs = [self.cost.text(n) for n in request.tokens]
            request.held = sum(costs)
            self.admission.change(request.asker, request.held - place.cost)
            self._push(request, costs, now)
            request.caller.let_in(request)
