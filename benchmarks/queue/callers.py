"""Clients: single requests that are tried again as `qwire` does, and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.queue.request import End
from qwire.failures import Failure
from qwire.retry import delay_before_retry
from qwire_server.errors import DeadlineExceeded, Overloaded

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from benchmarks.queue.ledger import Ledger
    from benchmarks.queue.request import Request
    from benchmarks.queue.server import Server
    from benchmarks.queue.world import World

_NEVER = float("inf")


class Callers:
    """Clients that send single requests; one object stands for all of them.

    Args:
        on_end: called with each request that ended, for clients that then send another.
        probes: part of the requests denied for their deadline that are let in nevertheless, to see
            whether they would have been late.
    """

    def __init__(
        self,
        world: World,
        server: Server,
        ledger: Ledger,
        rng: random.Random,
        *,
        on_end: Callable[[Request], None] | None = None,
        probes: float = 0.0,
    ) -> None:
        self._world = world
        self._server = server
        self._policy = server.policy
        self._ledger = ledger
        self._rng = rng
        self._on_end = on_end
        self._probes = probes

    def send(self, request: Request) -> None:
        """Send it for the first time."""
        self._ledger.arrive(request)
        if request.deadline != _NEVER:
            self._world.at(int(request.deadline), self._time_out, request)
        self._try(request)

    def let_in(self, request: Request) -> None:
        """It waited, and there is room now."""
        self._in(request)

    def denied(self, request: Request) -> None:
        """It waited, and would be late now that its true cost is known."""
        self._finish(request, End.DENIED)

    def answered(self, request: Request, texts: int) -> None:
        """A request is answered when all its texts are."""
        del texts
        if not request.unanswered:
            self._finish(request, End.ANSWERED)

    def _try(self, request: Request) -> None:
        if request.end is not None:
            return
        now, ledger = self._world.now, self._ledger
        returned = request.tries > 0
        request.tries += 1
        ledger.offers += 1
        ledger.returns += returned
        try:
            is_in = self._policy.offer(request, now)
        except Overloaded as error:
            ledger.refusals += 1
            self._refused(request, error.retry_after)
        except DeadlineExceeded:
            if self._rng.random() < self._probes:
                request.probe = True
                self._policy.probe(request, now)
                self._in(request)
            else:
                self._finish(request, End.DENIED)
        else:
            ledger.let_in_on_return += returned
            if is_in:
                self._in(request)
            else:
                request.waiting = not request.admitted  # the line may have let it in already

    def _in(self, request: Request) -> None:
        request.admitted, request.waiting = True, False
        self._server.wake()

    def _refused(self, request: Request, hint: float | None) -> None:
        now = self._world.now
        delay = delay_before_retry(
            request.tries,
            Failure("RESOURCE_EXHAUSTED", "OVERLOADED", retry_after=hint),
            (now - request.born) / 1e6,
            (request.deadline - request.born) / 1e6,
            reached=True,
            max_attempts=0,
            draw=self._rng.random,
        )
        if delay is None:
            self._finish(request, End.REFUSED)
        else:
            self._world.at(now + int(delay * 1e6), self._try, request)

    def _time_out(self, request: Request) -> None:
        if request.end is not None:
            return
        if request.admitted or request.waiting:
            self._policy.cancel(request, self._world.now)
            self._finish(request, End.EXPIRED)
            self._server.wake()
        else:
            self._finish(request, End.REFUSED)

    def _finish(self, request: Request, end: End) -> None:
        self._ledger.finish(request, end, self._world.now)
        if self._on_end:
            self._on_end(request)


class Stream:
    """One stream: its next chunk is read when there was room for the last one, as `api.flow` does.

    Args:
        chunks: each no larger than a batch.
    """

    def __init__(
        self,
        world: World,
        server: Server,
        ledger: Ledger,
        chunks: Callable[[Stream], Iterator[Request]],
    ) -> None:
        self._world = world
        self._server = server
        self._policy = server.policy
        self._ledger = ledger
        self._chunks = chunks(self)
        self._waiting = False
        self._reading = False
        self._in_flight = 0

    def read(self) -> None:
        """Take chunks while there is room for them."""
        if self._reading:
            return
        self._reading = True
        while not self._waiting and self._in_flight <= self._policy.window:
            request = next(self._chunks, None)
            if request is None:
                break
            self._ledger.arrive(request)
            self._waiting = True
            self._policy.wait(request, self._world.now)
        self._reading = False
        self._server.wake()

    def let_in(self, request: Request) -> None:
        """There was room."""
        self._waiting = False
        self._in_flight += sum(request.tokens)
        self.read()

    def denied(self, request: Request) -> None:
        """A chunk of a stream has no deadline."""
        raise AssertionError(request)

    def answered(self, request: Request, texts: int) -> None:
        """Texts are in flight until they are answered."""
        last = len(request.tokens) - request.unanswered
        self._in_flight -= sum(request.tokens[last - texts : last])
        if not request.unanswered:
            self._ledger.finish(request, End.ANSWERED, self._world.now)
        self.read()
