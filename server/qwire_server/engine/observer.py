"""One record for each batch and one for each request, on which logs, and later metrics, hang."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Protocol

_LOG = logging.getLogger("qwire.server")


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One forward of the model. Times in seconds."""

    model: str
    texts: int
    tokens: int
    budget: int
    bulk_tokens: int
    compute_seconds: float
    failed: int
    splits: int


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One call, from its arrival to its answer; a stream is one call."""

    method: str
    request_id: str
    client: str
    request_class: str
    code: str
    texts: int
    tokens: int
    cut: int
    seconds: float


class Observer(Protocol):
    """Told what happened; must return at once and never raise."""

    def batch(self, record: BatchRecord) -> None:
        """Called by the worker thread."""

    def request(self, record: RequestRecord) -> None:
        """Called by the event loop."""


class LogObserver:
    """Writes requests that failed at INFO, everything else at DEBUG."""

    def batch(self, record: BatchRecord) -> None:
        """Log one batch."""
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("batch", extra={"record": asdict(record)})

    def request(self, record: RequestRecord) -> None:
        """Log one request."""
        level = logging.DEBUG if record.code == "OK" else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "request", extra={"record": asdict(record)})
