"""What happened: every request once, every microsecond of the device once."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from benchmarks.queue.request import End
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from benchmarks.queue.request import Request

_CLASSES = tuple(RequestClass)


def kind(request: Request) -> str:
    """The first word of its client's name, and `stream` for a chunk: "person 3" is a person."""
    return "stream" if request.streamed else request.asker.client.partition(" ")[0]


class Ledger:
    """Counts; times in microseconds.

    Attributes:
        until: what is answered later counts in no rate.
        arrived, kinds: requests, by class and by kind of client (`kind`).
        ended: requests, by class and end.
        waits: from the first try to the batch of the last text, of what was answered, by kind of
            client; of chunks of streams, since there was room for them.
        work, class_work: device time of what was computed in time until then, by client and class.
        calls: requests answered until then, by client.
        offers: tries, those that were refused with a hint, and those let in on the return from one.
        busy, overhead: device time, and what of it was the fixed part of forwards.
        wasted: device time of texts whose request was not answered in time.
        fills: of batches that left work waiting.
        probes: requests that were to be denied, by how they really ended.
    """

    def __init__(self, until: int) -> None:
        self.until = until
        self.arrived: Counter[RequestClass] = Counter()
        self.kinds: Counter[str] = Counter()
        self.ended: dict[RequestClass, Counter[End]] = {c: Counter() for c in _CLASSES}
        self.waits: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.work: defaultdict[str, int] = defaultdict(int)
        self.calls: Counter[str] = Counter()
        self.class_work: Counter[RequestClass] = Counter()
        self.offers = 0
        self.refusals = 0
        self.returns = 0
        self.let_in_on_return = 0
        self.busy = 0
        self.busy_until = 0
        self.overhead = 0
        self.wasted = 0
        self.batches = 0
        self.fills = array("d")
        self.probes: Counter[End] = Counter()

    def __repr__(self) -> str:
        return f"<Ledger {sum(self.arrived.values())} requests, {self.batches} batches>"

    def arrive(self, request: Request) -> None:
        """It was sent for the first time."""
        self.arrived[request.asker.request_class] += 1
        self.kinds[kind(request)] += 1

    def batch(self, now: int, took: int, overhead: int, fill: float | None) -> None:
        """A batch begins."""
        self.busy += took
        self.busy_until += max(0, min(took, self.until - now))
        self.overhead += overhead
        self.batches += 1
        if fill is not None:
            self.fills.append(fill)

    def computed(self, request: Request, cost: int, now: int) -> None:
        """Texts of a request were computed, for somebody or for nobody."""
        if request.end is not None:
            self.wasted += cost
        elif now <= self.until:
            self.work[request.asker.client] += cost
            self.class_work[request.asker.request_class] += cost

    def finish(self, request: Request, end: End, now: int) -> None:
        """A request ended, once."""
        assert request.end is None, "a request ended twice"
        request.end = end
        request_class = request.asker.request_class
        if request.probe:
            self.probes[end] += 1
            end = End.DENIED
        self.ended[request_class][end] += 1
        if end is End.ANSWERED:
            since = request.since if request.streamed else request.born
            self.waits[kind(request)].append(request.began - since)
            if now <= self.until:
                self.calls[request.asker.client] += 1
