"""How busy a server says it is, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qwire.v1 import embedding_pb2 as pb


@dataclass(frozen=True)
class ClassLoad:
    """One class of requests; costs are seconds of device time.

    Attributes:
        held_seconds: accepted and not yet answered.
        texts_waiting: tokenised, not yet in a batch.
        oldest_seconds: how long the oldest of these has waited.
    """

    held_seconds: float
    texts_waiting: int
    oldest_seconds: float


@dataclass(frozen=True)
class ClientLoad:
    """One client in one class, "interactive" or "bulk"; `streams` are those it has open."""

    client: str
    request_class: str
    held_seconds: float
    oldest_seconds: float
    streams: int


@dataclass(frozen=True)
class Books:
    """What became of texts since the start of a server; what was refused was never accepted.

    Attributes:
        abandoned: their caller had gone, or their stream had ended with an error.
        open: accepted and under way now.
    """

    accepted: int
    answered: int
    failed: int
    abandoned: int

    @property
    def open(self) -> int:
        """See the class."""
        return self.accepted - self.answered - self.failed - self.abandoned


@dataclass(frozen=True)
class Stats:
    """A server's load; counters count from its start.

    Attributes:
        queue_seconds: most device time that may be accepted and not yet answered.
        clients: those that hold most, at most 20.
        clients_active: how many hold anything.
        calls: ended, by gRPC status; streams too.
        failures: calls that failed, by error code.
        texts: computed; `tokens` and, of class bulk, `bulk_tokens` likewise.
        texts_expired: deadline passed in the queue: answered, not computed.
        batch_fill: of the last batches that left work waiting, 0 to 1; 0 if there was none.
        busy_seconds: time the device spent on batches.
        starved_seconds: time it had no work though a text waited for it; 0 from older servers.
        cost_accuracy: measured by estimated device time, lately.
        saved_tokens: of `tokens`, those known from other texts and not computed; 0 from older
            servers.
        books: of texts; all zero from older servers.
        requests_waiting: number of requests that wait for room in the queue.
        bytes_waiting: bytes of the texts of these requests.
    """

    uptime_seconds: float
    queue_seconds: float
    interactive: ClassLoad
    bulk: ClassLoad
    clients: tuple[ClientLoad, ...]
    clients_active: int
    calls: Mapping[str, int]
    failures: Mapping[str, int]
    texts: int
    tokens: int
    bulk_tokens: int
    texts_expired: int
    batches: int
    batch_fill: float
    busy_seconds: float
    starved_seconds: float
    cost_accuracy: float
    saved_tokens: int = 0
    books: Books = Books(0, 0, 0, 0)
    requests_waiting: int = 0
    bytes_waiting: int = 0


def read_stats(reply: pb.StatsResponse) -> Stats:
    """Copy a StatsResponse into Python types."""
    return Stats(
        uptime_seconds=reply.uptime_seconds,
        queue_seconds=reply.queue_seconds,
        interactive=_class_load(reply.interactive),
        bulk=_class_load(reply.bulk),
        clients=tuple(
            ClientLoad(
                client=client.client,
                request_class=_CLASSES.get(client.request_class, "interactive"),
                held_seconds=client.held_seconds,
                oldest_seconds=client.oldest_seconds,
                streams=client.streams,
            )
            for client in reply.clients
        ),
        clients_active=reply.clients_active,
        calls=dict(reply.calls),
        failures=dict(reply.failures),
        texts=reply.texts,
        tokens=reply.tokens,
        bulk_tokens=reply.bulk_tokens,
        texts_expired=reply.texts_expired,
        batches=reply.batches,
        batch_fill=reply.batch_fill,
        busy_seconds=reply.busy_seconds,
        starved_seconds=reply.starved_seconds,
        cost_accuracy=reply.cost_accuracy,
        saved_tokens=reply.saved_tokens,
        books=Books(
            reply.books.accepted, reply.books.answered, reply.books.failed, reply.books.abandoned
        ),
        requests_waiting=reply.requests_waiting,
        bytes_waiting=reply.bytes_waiting,
    )


_CLASSES: dict[int, str] = {pb.REQUEST_CLASS_BULK: "bulk"}


def _class_load(load: pb.ClassStats) -> ClassLoad:
    return ClassLoad(load.held_seconds, load.texts_waiting, load.oldest_seconds)
