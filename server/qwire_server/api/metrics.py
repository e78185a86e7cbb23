"""Figures for Prometheus. Labels are our own words and served models' names, never a client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from qwire_server.api.gauges import Gauges
from qwire_server.api.instruments import SHARES, Instruments
from qwire_server.engine.work import RequestClass
from qwire_server.errors import BY_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Counter, Histogram

    from qwire_server.api.gate import Gate
    from qwire_server.engine.observer import (
        AnswerRecord,
        BatchRecord,
        QueueRecord,
        ReloadRecord,
        RequestRecord,
    )

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STAGES = ("tokenize", "queue", "compute", "reply")


class MetricsObserver:
    """An observer that counts, into a registry of its own: two servers do not share one.

    Attributes:
        registry: all figures.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        made = Instruments(self.registry)
        self._requests = _Requests(made)
        self._answers = _Answers(made)
        self._batches = _Batches(made)
        self._gauges = Gauges(made)
        self._reloads = made.counter(
            "reloads", "Changes of certificate or keys, taken up or not.", "what", "result"
        )
        for what in ("certificate", "keys"):
            for result in ("taken", "failed"):
                self._reloads.labels(what, result)

    def batch(self, record: BatchRecord) -> None:
        """Count one batch."""
        self._batches.count(record)

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Nothing to count: the queue is looked at when somebody asks."""

    def answer(self, record: AnswerRecord) -> None:
        """Count what was answered together."""
        self._answers.count(record)

    def request(self, record: RequestRecord) -> None:
        """Count one call."""
        self._requests.count(record)

    def reload(self, record: ReloadRecord) -> None:
        """Count one reload."""
        self._reloads.labels(record.what, "failed" if record.wrong else "taken").inc()

    def look(self, gate: Gate) -> None:
        """Set what is so now; the event loop's."""
        for model in self._gauges.look(gate):
            self._batches.expect(model)
            self._answers.expect(model)

    def exposed(self) -> bytes:
        """Everything in Prometheus' text format. Takes milliseconds, in any thread."""
        return generate_latest(self.registry)


# A series that begins with its first event hides that event from `rate()`, so those whose labels
# are known begin at 0.
class _Requests:
    """Calls, from the event loop."""

    def __init__(self, made: Instruments) -> None:
        call = ("method", "class")
        self._calls = made.counter("requests", "Calls that ended, by gRPC status.", *call, "code")
        self._failures = made.counter("request_failures", "Failed calls, by error code.", "reason")
        self._seconds = made.histogram("request_seconds", "From arrival to answer.", *call)
        self._texts = made.counter("request_texts", "Texts that calls had.", "method")
        for code in BY_CODE:
            self._failures.labels(code)

    def count(self, record: RequestRecord) -> None:
        method, of_class = record.method, record.request_class
        self._calls.labels(method, of_class, record.code).inc()
        self._seconds.labels(method, of_class).observe(record.seconds)
        self._texts.labels(method).inc(record.texts)
        if record.reason:
            self._failures.labels(record.reason).inc()


class _Answers:
    """Texts answered together, from the event loop."""

    def __init__(self, made: Instruments) -> None:
        self._seconds = made.histogram(
            "stage_seconds", "Of what is answered together: one stage of it.", "stage", "class"
        )
        self._cut_texts = made.counter("cut_texts", "Texts that were too long, and cut.", "model")
        self._cut_tokens = made.counter("cut_tokens", "Tokens left out of them.", "model")
        self._errors = made.counter(
            "stream_text_errors", "Texts of streams that failed, by error code.", "reason"
        )
        self._stages = {
            name: [self._seconds.labels(stage, name) for stage in _STAGES]
            for name in (request_class.name.lower() for request_class in RequestClass)
        }
        for code in BY_CODE:
            self._errors.labels(code)

    def expect(self, model: str) -> None:
        self._cut_texts.labels(model)
        self._cut_tokens.labels(model)

    def count(self, record: AnswerRecord) -> None:
        for code in record.errors:
            self._errors.labels(code).inc()
        if record.texts == len(record.errors):
            return  # nothing was computed
        took = (
            record.tokenize_seconds,
            record.queue_seconds,
            record.compute_seconds,
            record.reply_seconds,
        )
        for stage, seconds in zip(self._stages[record.request_class], took, strict=True):
            stage.observe(seconds)
        if record.cut:
            self._cut_texts.labels(record.model).inc(record.cut_texts)
            self._cut_tokens.labels(record.model).inc(record.cut)


class _Batches:
    """Forwards, from the engine's thread."""

    def __init__(self, made: Instruments) -> None:
        self._seconds = made.histogram("batch_seconds", "Device time of one forward.", "model")
        self._fill = made.histogram(
            "batch_fill", "Part of its limit, if work was left waiting.", "model", buckets=SHARES
        )
        self._waited = made.histogram(
            "batch_waited_seconds", "Of the text of a batch that waited longest.", "model"
        )
        self._starved = made.counter(
            "device_starved_seconds", "The device had no work though a text waited.", "model"
        )
        self._flops = made.counter(
            "batch_flops", "Operations of forwards, by the model's shape.", "model"
        )
        self._tokens = made.counter("batch_tokens", "Tokens of forwards.", "model", "class")
        self._saved = made.counter(
            "batch_saved_tokens", "Of these, known from other texts, not computed.", "model"
        )
        self._texts = made.counter("batch_texts", "Texts of forwards.", "model")
        self._splits = made.counter("batch_splits", "Batches halved for want of memory.", "model")
        self._retried = made.counter(
            "texts_retried", "Texts run again, as a batch failed.", "model"
        )
        self._failed = made.counter("texts_failed", "Texts that the model failed on.", "model")
        self._not_finite = made.counter(
            "texts_not_finite", "Texts whose row held NaN or infinity.", "model"
        )
        self._expired = made.counter("texts_expired", "Texts whose deadline passed.", "model")
        self._by_model: tuple[Counter | Histogram, ...] = (
            *(self._seconds, self._fill, self._waited, self._starved, self._flops, self._saved),
            *(self._texts, self._splits, self._retried, self._failed),
            *(self._not_finite, self._expired),
        )

    def expect(self, model: str) -> None:
        for metric in self._by_model:
            metric.labels(model)
        for request_class in RequestClass:
            self._tokens.labels(model, request_class.name.lower())

    def count(self, record: BatchRecord) -> None:
        model = record.model
        self._seconds.labels(model).observe(record.compute_seconds)
        self._waited.labels(model).observe(record.waited_seconds)
        self._starved.labels(model).inc(record.starved_seconds)
        self._flops.labels(model).inc(record.flops)
        self._tokens.labels(model, "bulk").inc(record.bulk_tokens)
        self._tokens.labels(model, "interactive").inc(record.tokens - record.bulk_tokens)
        self._saved.labels(model).inc(record.saved_tokens)
        self._texts.labels(model).inc(record.texts)
        self._splits.labels(model).inc(record.splits)
        self._retried.labels(model).inc(record.retried)
        self._failed.labels(model).inc(record.failed)
        self._not_finite.labels(model).inc(record.not_finite)
        self._expired.labels(model).inc(record.expired)
        if record.fill is not None:
            self._fill.labels(model).observe(record.fill)
