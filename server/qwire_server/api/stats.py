"""How busy a server is: counters since its start, and a look at the queue."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwire_server.api.books import Books
from qwire_server.engine import clock
from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.api.room import Room
    from qwire_server.engine.observer import (
        AnswerRecord,
        BatchRecord,
        QueueRecord,
        ReloadRecord,
        RequestRecord,
    )
    from qwire_server.engine.queue.backlog import Waiting

_MOST_CLIENTS = 20
_FILL_MEMORY = 0.95  # about twenty batches


@dataclass(slots=True)
class Counters:
    """An observer that counts. Batches come from the engine's thread, requests from the event loop.

    Attributes:
        books: of texts; written by the fronts, in the event loop.
        calls: ended, by gRPC status.
        failures: failed, by error code.
        saved_tokens: of `tokens`, those that were not computed.
        batch_fill: of the last batches that left work waiting, 0 to 1; 0 if there was none yet.
        busy_seconds: time the device spent on batches.
        starved_seconds: time it had no work though a text waited for it.
    """

    started: float = field(default_factory=time.monotonic)
    books: Books = field(default_factory=Books)
    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    tokens: int = 0
    saved_tokens: int = 0
    bulk_tokens: int = 0
    expired: int = 0
    batches: int = 0
    batch_fill: float = 0.0
    busy_seconds: float = 0.0
    starved_seconds: float = 0.0

    def batch(self, record: BatchRecord) -> None:
        """Count one batch."""
        self.batches += 1
        self.texts += record.texts
        self.tokens += record.tokens
        self.saved_tokens += record.saved_tokens
        self.bulk_tokens += record.bulk_tokens
        self.expired += record.expired
        self.busy_seconds += record.compute_seconds
        self.starved_seconds += record.starved_seconds
        if record.fill is not None:
            past = self.batch_fill or record.fill
            self.batch_fill = _FILL_MEMORY * past + (1 - _FILL_MEMORY) * record.fill

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Nothing to count: `look` asks for itself."""

    def answer(self, record: AnswerRecord) -> None:
        """Nothing to count: its call is counted, and the batches of its texts."""

    def request(self, record: RequestRecord) -> None:
        """Count one call."""
        self.calls[record.code] += 1
        if record.reason:
            self.failures[record.reason] += 1

    def reload(self, record: ReloadRecord) -> None:
        """Nothing to count."""


@dataclass(slots=True)
class ClassStats:
    """One class: what is held (microseconds), what waits, since when (microseconds ago)."""

    held: int = 0
    texts: int = 0
    oldest: int = 0


@dataclass(slots=True)
class ClientStats:
    """One client in one class; times in microseconds."""

    asker: Asker
    held: int
    streams: int
    oldest: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything together; see `qwire.v1.StatsResponse`."""

    counters: Counters
    uptime: float
    bound: int
    classes: dict[RequestClass, ClassStats]
    clients: list[ClientStats]
    clients_active: int
    streams: int
    cost_accuracy: float
    requests_waiting: int  # for room in the queue
    bytes_waiting: int


def look(
    counters: Counters,
    room: Room,
    waiting: list[Waiting],
    cost_accuracy: float,
    only: str | None = None,
) -> Stats:
    """The state of a server now; `only` is the one client that is told of, None tells of all."""
    now, admission, streams = clock.now(), room.admission, room.quotas.streams()
    classes = {c: ClassStats(held=admission.class_held(c)) for c in RequestClass}
    clients = {
        asker: ClientStats(asker, load.cost, streams.get(asker.client, 0))
        for asker, load in admission.loads()
    }
    for line in waiting:
        age = now - line.since
        of_class = classes[line.request_class]
        of_class.texts += line.texts
        of_class.oldest = max(of_class.oldest, age)
        if client := clients.get(Asker(line.client, line.request_class)):
            client.oldest = age
    shown = [c for c in clients.values() if only in {None, c.asker.client}]
    most = sorted(shown, key=lambda c: c.held, reverse=True)[:_MOST_CLIENTS]
    return Stats(
        counters=counters,
        uptime=time.monotonic() - counters.started,
        bound=admission.bound,
        classes=classes,
        clients=most,
        clients_active=len({asker.client for asker in clients}),
        streams=sum(streams.values()),
        cost_accuracy=cost_accuracy,
        requests_waiting=room.line.requests,
        bytes_waiting=room.line.size,
    )
