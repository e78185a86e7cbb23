"""The server's policy, composed as `api.embedder`, `api.room`, `api.flow` and `engine` do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.engine.queue.admission import Admission
from qwire_server.engine.queue.backlog import Backlog, BatchLimits
from qwire_server.engine.queue.item import Item
from qwire_server.engine.queue.line import Line, Patience, Place, WaitLimits
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
        self.line: Line[Request] = Line(self.admission, WaitLimits())
        self._places: dict[Request, Place[Request]] = {}

    def offer(self, request: Request, now: int) -> bool:
        """As `Room.take` and `Embedder._embed`: by bytes at first, by tokens once they are known.

        Returns:
            Whether it was let in; if not, it waits in the line.
        """
        estimate = sum([self.cost.text(n) for n in request.guess])
        size = sum(request.guess)
        place = Place(request.asker, estimate, request, size)
        if not self.line.arrive(place, now, Patience(request.deadline)):
            self._places[request] = place
            self._let_in(now)
            return False
        self._settle(request, estimate, now)
        return True

    def probe(self, request: Request, now: int) -> None:
        """Past both checks of the deadline."""
        costs = [self.cost.text(n) for n in request.tokens]
        request.held = sum(costs)
        self.admission.begin(request.asker, request.held, now=now)
        self._push(request, costs, now)

    def wait(self, request: Request, now: int) -> None:
        """As `Room.wait`."""
        estimate = sum([self.cost.text(n) for n in request.guess])
        self.line.join(Place(request.asker, estimate, request), now)
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
        if place := self._places.pop(request, None):
            self.line.leave(place)
            self._let_in(now)
        else:
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
        """As `Room.let_in`, then by tokens as `Embedder._embed` and `Flow._run`."""
        for place in self.line.let_in(now):
            request = place.ticket
            self._places.pop(request, None)
            try:
                self._settle(request, place.cost, now)
            except DeadlineExceeded:
                request.caller.denied(request)
            else:
                request.caller.let_in(request)

    def _settle(self, request: Request, estimate: int, now: int) -> None:
        """Replace the estimate by the true cost, and let the texts wait for a batch.

        Raises:
            DeadlineExceeded: it cannot be answered in time; nothing is held for it any more.
        """
        costs = [self.cost.text(n) for n in request.tokens]
        request.held = sum(costs)
        self.admission.change(request.asker, request.held - estimate)
        if not request.streamed:
            try:
                self.admission.check_deadline(request.asker, now=now, deadline=request.deadline)
            except DeadlineExceeded:
                self._release(request, now)
                raise
        self._push(request, costs, now)
