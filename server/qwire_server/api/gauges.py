"""What is so now, for Prometheus: set whenever somebody asks."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire_server.engine.work import RequestClass
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from qwire_server.api.embedder import Embedder
    from qwire_server.api.gate import Gate
    from qwire_server.api.instruments import Instruments
    from qwire_server.api.served import Served
    from qwire_server.api.stats import Stats


class Gauges:
    """Of the server and its models."""

    def __init__(self, made: Instruments) -> None:
        build = made.gauge("build_info", "1, for the version.", "version", "python")
        build.labels(__version__, platform.python_version()).set(1)
        self._ready = made.gauge("ready", "1 while new work is taken.")
        self._calls = made.gauge("open_calls", "Calls not yet answered, streams included.")
        about = ("model", "fingerprint", "device", "dtype")
        self._info = made.gauge("model_info", "1 for each model in service.", *about)
        self._peak = made.gauge(
            "device_peak_flops",
            "Operations a second of a large matrix product, measured at start.",
            "model",
        )

    def look(self, gate: Gate) -> list[Embedder]:
        """Set them all; the models in service."""
        self._ready.set(gate.is_serving)
        self._calls.set(gate.open_calls)
        try:
            embedder, reranker = gate.models()
        except RequestError:
            return []  # what was known last stays
        embedders = [e for e in (embedder, reranker and reranker.embedder) if e]
        for each in embedders:
            self._model(each.served)
        return embedders

    def _model(self, served: Served) -> None:
        self._info.labels(served.model, served.fingerprint, served.device, served.dtype).set(1)
        if served.peak_flops:
            self._peak.labels(served.model).set(served.peak_flops)


class QueueGauges:
    """Of the queue, which all fronts of a server share."""

    def __init__(self, made: Instruments) -> None:
        self._streams = made.gauge("open_streams", "Streams that are open.")
        self._bound = made.gauge("queue_bound_seconds", "Most device time that may be held.")
        self._held = made.gauge("queue_held_seconds", "Device time accepted, unanswered.", "class")
        self._texts = made.gauge("queue_texts", "Texts that wait for a batch.", "class")
        self._oldest = made.gauge(
            "queue_oldest_seconds", "How long the oldest of these has waited.", "class"
        )
        self._requests = made.gauge("waiting_requests", "Requests that wait for room in the queue.")
        self._bytes = made.gauge("waiting_bytes", "Bytes of the texts of these requests.")
        self._clients = made.gauge("clients_active", "Clients that hold work.")
        self._accuracy = made.gauge("cost_accuracy", "Measured by estimated device time, lately.")
        for gauge in (self._held, self._texts, self._oldest):
            for request_class in RequestClass:
                gauge.labels(request_class.name.lower())

    def show(self, stats: Stats) -> None:
        """Set them all."""
        self._streams.set(stats.streams)
        self._bound.set(stats.bound / 1e6)
        self._requests.set(stats.requests_waiting)
        self._bytes.set(stats.bytes_waiting)
        self._clients.set(stats.clients_active)
        self._accuracy.set(stats.cost_accuracy)
        for request_class, of_it in stats.classes.items():
            name = request_class.name.lower()
            self._held.labels(name).set(of_it.held / 1e6)
            self._texts.labels(name).set(of_it.texts)
            self._oldest.labels(name).set(of_it.oldest / 1e6)
