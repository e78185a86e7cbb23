"""Records of batches, of the queue and of requests, on which logs, and later metrics, hang."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.engine.queue.backlog import Waiting

_LOG = logging.getLogger("qwire.server")


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One forward of the model. Times in seconds.

    Attributes:
        estimated_seconds: what the cost model expected.
        starved_seconds: that the device had no work before it, though one of its texts waited.
        saved_tokens: those that were not computed: the instruction's, known from other texts.
        bulk_tokens: those of bulk texts.
        fill: part of the limit that ended the batch, 0 to 1; None if nothing was left waiting.
        waited_seconds: of the text that waited longest.
        expired: texts whose deadline had passed: answered, not computed.
        not_finite: texts that were run once more because their row held NaN or infinity.
    """

    model: str
    texts: int
    tokens: int
    saved_tokens: int
    bulk_tokens: int
    estimated_seconds: float
    compute_seconds: float
    starved_seconds: float
    fill: float | None
    waited_seconds: float
    expired: int
    failed: int
    splits: int
    not_finite: int


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """What waits at `at` microseconds, by class and client; while there is work, once a second."""

    at: int
    waiting: list[Waiting]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One call, from its arrival to its answer; a stream is one call.

    Attributes:
        code: the gRPC status.
        reason: the error code; empty if the call succeeded or was cancelled.
    """

    method: str
    request_id: str
    client: str
    request_class: str
    code: str
    reason: str
    texts: int
    tokens: int
    cut: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReloadRecord:
    """Files that changed while the server runs, and were read again.

    Attributes:
        what: "certificate" or "keys".
        wrong: why they were not taken up; empty if they were.
    """

    what: str
    wrong: str


class Observer(Protocol):
    """Told what happened; must return at once and never raise."""

    def batch(self, record: BatchRecord) -> None:
        """Called by the engine's answering thread."""

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Called by its launching thread; `look` takes time for each text that waits."""

    def request(self, record: RequestRecord) -> None:
        """Called by the event loop."""

    def reload(self, record: ReloadRecord) -> None:
        """Called by any thread."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def batch(self, record: BatchRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.batch(record)

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.queue(look)

    def request(self, record: RequestRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.request(record)

    def reload(self, record: ReloadRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.reload(record)


class LogObserver:
    """Writes requests that failed at INFO, reloads aloud, everything else at DEBUG."""

    def batch(self, record: BatchRecord) -> None:
        """Log one batch."""
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("batch", extra={"record": asdict(record)})

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Log what waits."""
        if _LOG.isEnabledFor(logging.DEBUG) and (record := look()).waiting:
            _LOG.debug("queue", extra={"record": asdict(record)})

    def request(self, record: RequestRecord) -> None:
        """Log one request."""
        level = logging.DEBUG if record.code == "OK" else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "request", extra={"record": asdict(record)})

    def reload(self, record: ReloadRecord) -> None:
        """Log one reload."""
        if record.wrong:
            _LOG.error("%s not reloaded, the old ones stay: %s", record.what, record.wrong)
        else:
            _LOG.info("%s reloaded", record.what)
