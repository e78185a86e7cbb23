"""Figures for Prometheus. Labels are our own words and served models' names, never a client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from qwire._version import __version__
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.api.gate import Gate
    from qwire_server.api.stats import Stats
    from qwire_server.engine.observer import (
        BatchRecord,
        QueueRecord,
        ReloadRecord,
        RequestRecord,
    )

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From a question on an idle GPU to a request that waited for the whole queue.
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1)


class MetricsObserver:
    """An observer that counts, into a registry of its own: two servers do not share one."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        made = _Maker(self._registry)
        self._requests = _Requests(made)
        self._batches = _Batches(made)
        self._state = _State(made)
        self._reloads = made.counter(
            "reloads", "Changes of certificate or keys, taken up or not.", "what", "result"
        )

    def batch(self, record: BatchRecord) -> None:
        """Count one batch."""
        self._batches.count(record)

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        """Nothing to count: the queue is looked at when somebody asks."""

    def request(self, record: RequestRecord) -> None:
        """Count one call."""
        self._requests.count(record)

    def reload(self, record: ReloadRecord) -> None:
        """Count one reload."""
        self._reloads.labels(record.what, "failed" if record.wrong else "taken").inc()

    def exposed(self, gate: Gate) -> bytes:
        """Everything in Prometheus' text format, with a look at the state now."""
        self._state.look(gate)
        return generate_latest(self._registry)


class _Maker:
    """Makes metrics in one registry, all with our prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"qwire_{name}", told, labels, registry=self._registry)

    def gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"qwire_{name}", told, labels, registry=self._registry)

    def histogram(
        self, name: str, told: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(f"qwire_{name}", told, labels, buckets=buckets, registry=self._registry)


class _Requests:
    """Calls, from the event loop."""

    def __init__(self, made: _Maker) -> None:
        call = ("method", "class")
        self._calls = made.counter("requests", "Calls that ended, by gRPC status.", *call, "code")
        self._failures = made.counter("request_failures", "Failed calls, by error code.", "reason")
        self._seconds = made.histogram("request_seconds", "From arrival to answer.", *call)
        self._texts = made.counter("request_texts", "Texts that calls had.", "method")
        self._cut = made.counter("request_cut_tokens", "Tokens left out of long texts.", "method")

    def count(self, record: RequestRecord) -> None:
        method, of_class = record.method, record.request_class
        self._calls.labels(method, of_class, record.code).inc()
        self._seconds.labels(method, of_class).observe(record.seconds)
        self._texts.labels(method).inc(record.texts)
        self._cut.labels(method).inc(record.cut)
        if record.reason:
            self._failures.labels(record.reason).inc()


class _Batches:
    """Forwards, from the worker thread."""

    def __init__(self, made: _Maker) -> None:
        self._texts = made.counter("batch_texts", "Texts computed.", "model")
        self._tokens = made.counter("batch_tokens", "Tokens computed.", "model", "class")
        self._seconds = made.histogram("batch_seconds", "Time of one forward.", "model")
        self._fill = made.histogram(
            "batch_fill", "Part of its limit, if work was left waiting.", "model", buckets=_SHARES
        )
        self._waited = made.histogram(
            "batch_waited_seconds", "Of the text of a batch that waited longest.", "model"
        )
        self._splits = made.counter("batch_splits", "Batches halved for want of memory.", "model")
        self._failed = made.counter("texts_failed", "Texts that the model failed on.", "model")
        self._expired = made.counter("texts_expired", "Texts whose deadline passed.", "model")

    def count(self, record: BatchRecord) -> None:
        model = record.model
        self._texts.labels(model).inc(record.texts)
        self._tokens.labels(model, "bulk").inc(record.bulk_tokens)
        self._tokens.labels(model, "interactive").inc(record.tokens - record.bulk_tokens)
        self._seconds.labels(model).observe(record.compute_seconds)
        self._waited.labels(model).observe(record.waited_seconds)
        self._splits.labels(model).inc(record.splits)
        self._failed.labels(model).inc(record.failed)
        self._expired.labels(model).inc(record.expired)
        if record.fill is not None:
            self._fill.labels(model).observe(record.fill)


class _State:
    """Gauges, set when somebody asks."""

    def __init__(self, made: _Maker) -> None:
        self._ready = made.gauge("ready", "1 while new work is taken.")
        self._open = made.gauge("open_calls", "Calls not yet answered.")
        about = ("version", "model", "fingerprint", "device", "dtype")
        self._info = made.gauge("model_info", "1 for each model in service.", *about)
        self._bound = made.gauge("queue_bound_seconds", "Most device time that may be held.")
        self._held = made.gauge("queue_held_seconds", "Device time accepted, unanswered.", "class")
        self._texts = made.gauge("queue_texts", "Texts that wait.", "class")
        self._oldest = made.gauge("queue_oldest_seconds", "Of the longest waiting text.", "class")
        self._clients = made.gauge("clients_active", "Clients that hold work.")
        self._accuracy = made.gauge("cost_accuracy", "Measured by estimated device time, lately.")

    def look(self, gate: Gate) -> None:
        self._ready.set(gate.is_serving)
        self._open.set(gate.open_calls)
        try:
            embedder, reranker = gate.models()
        except RequestError:
            return  # what was known last stays
        embedders = [e for e in (embedder, reranker and reranker.embedder) if e]
        for each in embedders:
            served = each.served
            about = (served.model, served.fingerprint, served.device, served.dtype)
            self._info.labels(__version__, *about).set(1)
        self._queue(embedders[0].stats())

    def _queue(self, stats: Stats) -> None:
        self._bound.set(stats.bound / 1e6)
        self._clients.set(stats.clients_active)
        self._accuracy.set(stats.cost_accuracy)
        for request_class, of_it in stats.classes.items():
            name = request_class.name.lower()
            self._held.labels(name).set(of_it.held / 1e6)
            self._texts.labels(name).set(of_it.texts)
            self._oldest.labels(name).set(of_it.oldest / 1e6)
