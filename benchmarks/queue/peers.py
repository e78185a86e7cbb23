"""Two policies that others use: plain first come, first served, and the same behind permits."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from qwire_server.engine.queue.backlog import Taken
from qwire_server.engine.queue.item import Item
from qwire_server.errors import Overloaded

if TYPE_CHECKING:
    from benchmarks.queue.request import Request

PERMITS = 512  # text-embeddings-inference's --max-concurrent-requests
_UNBOUNDED = 2**62


class FirstCome:
    """One queue, full batches, no bound. What nobody waits for any more is not computed.

    Args:
        tokens: of a batch.
        window: tokens of one stream in flight.
    """

    def __init__(self, tokens: int, window: int) -> None:
        self.window = window
        self._tokens = tokens
        self._line: deque[Item] = deque()

    def offer(self, request: Request, now: int) -> bool:
        """Everything is let in."""
        request.since = now
        # It knows no costs; one a text keeps the counts.
        self._line.extend([Item(request, i, n, 1) for i, n in enumerate(request.tokens)])
        return True

    def probe(self, request: Request, now: int) -> None:
        """Nothing is ever denied."""
        self.offer(request, now)

    def wait(self, request: Request, now: int) -> None:
        """There is always room."""
        self.offer(request, now)
        request.caller.let_in(request)

    def take(self, now: int) -> Taken:
        """What came first, while it fits."""
        line, left = self._line, self._tokens
        items: list[Item] = []
        expired: list[Item] = []
        while line:
            item = line[0]
            if item.entry.gone:
                line.popleft()
            elif item.entry.deadline <= now:
                expired.append(line.popleft())
            elif not items or item.tokens <= left:
                items.append(line.popleft())
                left -= item.tokens
            else:
                break
        return Taken(items, expired, min(1.0, 1 - left / self._tokens) if line else None)

    def computed(self, tokens: list[int], took: int) -> None:
        """Nothing is learned."""

    def answered(self, request: Request, texts: int, cost: int, now: int) -> None:
        """Nothing is counted."""

    def cancel(self, request: Request, now: int) -> None:
        """Its texts are skipped when their turn comes."""
        del now
        request.gone = True


class Permits(FirstCome):
    """A permit for each text: without one a request is refused, without a hint; a stream waits.

    Permits that come free go to streams that wait, before anybody else may try, as a fair semaphore
    hands them on. This is how text-embeddings-inference admits.
    """

    def __init__(self, tokens: int, permits: int = PERMITS) -> None:
        super().__init__(tokens, _UNBOUNDED)
        self.free = permits
        self._waiting: deque[Request] = deque()

    def offer(self, request: Request, now: int) -> bool:
        """Refuse what finds no permits."""
        if self._waiting or self.free < len(request.tokens):
            raise Overloaded("no permit is free")
        self._enter(request, now)
        return True

    def wait(self, request: Request, now: int) -> None:
        """Wait for permits, behind those that wait already."""
        self._waiting.append(request)
        self._let_in(now)

    def answered(self, request: Request, texts: int, cost: int, now: int) -> None:
        """Permits come back."""
        del cost
        request.held -= texts
        self.free += texts
        self._let_in(now)

    def cancel(self, request: Request, now: int) -> None:
        """Permits come back."""
        request.gone = True
        self.free += request.held
        request.held = 0
        self._let_in(now)

    def _enter(self, request: Request, now: int) -> None:
        request.held = len(request.tokens)
        self.free -= request.held
        super().offer(request, now)

    def _let_in(self, now: int) -> None:
        while self._waiting and self.free >= len(self._waiting[0].tokens):
            request = self._waiting.popleft()
            self._enter(request, now)
            request.caller.let_in(request)
