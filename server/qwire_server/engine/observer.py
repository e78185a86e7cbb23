"""Records of batches, the queue, requests and their answers: logs and metrics hang on them."""

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
        failed: texts that were answered with an error of the model.
        not_finite: texts whose row held NaN or infinity.
        retried: texts that were run again, since their batch failed.
        flops: floating-point operations that it took, by the model's shape; 0 if that is unknown.
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
    not_finite: int = 0
    retried: int = 0
    flops: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """What waits at `at` microseconds, by class and client; while there is work, once a second."""

    at: int
    waiting: list[Waiting]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One call, from its arrival to its answer; a stream is one call.

    Attributes:
        model: that was asked; empty if the call was refused before that was known.
        code: the gRPC status.
        reason: the error code; empty if the call succeeded or was cancelled.
        failed: texts that were answered with an error of their own, as in a stream.
        tokenize_seconds, queue_seconds, compute_seconds, reply_seconds: see `AnswerRecord`; of a
            stream, the sums.
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
    model: str = ""
    failed: int = 0
    tokenize_seconds: float = 0.0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    reply_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """Texts that were answered together: those of a request, or some of a stream.

    Attributes:
        cut_texts: those that were longer than the model takes.
        cut: tokens left out of them.
        errors: the error code of each text that failed.
        tokenize_seconds: waiting for a tokeniser thread included.
        queue_seconds: tokenised, and not on the device.
        compute_seconds: of the batches that held them.
        reply_seconds: from their rows to the end of the call, or to the message written.
    """

    model: str
    request_class: str
    texts: int
    cut_texts: int
    cut: int
    errors: tuple[str, ...]
    tokenize_seconds: float
    queue_seconds: float
    compute_seconds: float
    reply_seconds: float


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

    def answer(self, record: AnswerRecord) -> None:
        """Called by the event loop."""

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

    def answer(self, record: AnswerRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.answer(record)

    def request(self, record: RequestRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.request(record)

    def reload(self, record: ReloadRecord) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.reload(record)


class LogObserver:
    """Writes requests that failed, wholly or in part, at INFO, reloads aloud, the rest at DEBUG."""

    def batch(self, record: BatchRecord) -> None:
        """Log one batch."""
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("batch", extra={"record": asdict(record)})

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Log what waits."""
        if _LOG.isEnabledFor(logging.DEBUG) and (record := look()).waiting:
            _LOG.debug("queue", extra={"record": asdict(record)})

    def answer(self, record: AnswerRecord) -> None:
        """Nothing: their request is logged."""

    def request(self, record: RequestRecord) -> None:
        """Log one request."""
        is_good = record.code == "OK" and not record.failed
        level = logging.DEBUG if is_good else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "request", extra={"record": asdict(record)})

    def reload(self, record: ReloadRecord) -> None:
        """Log one reload."""
        if record.wrong:
            _LOG.error("%s not reloaded, the old ones stay: %s", record.what, record.wrong)
        else:
            _LOG.info("%s reloaded", record.what)
