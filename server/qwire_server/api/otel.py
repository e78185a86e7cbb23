"""Spans by OpenTelemetry, sent over OTLP. Needs the extra `otel`; only `telemetry.py` imports it.

A span joins the trace that the caller's W3C headers name, and is sampled as the caller's is unless
OTEL_TRACES_SAMPLER says otherwise. It holds numbers and our own words; never a text, a key, a
vector or a client's name. Baggage, which may hold anything, is not read.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from qwire._version import __version__
from qwire_server.api.spans import NO_SPAN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

    from qwire_server.api.spans import Span
    from qwire_server.api.timings import Timings
    from qwire_server.engine.observer import AnswerRecord, RequestRecord

_LAST_SECONDS = 2.0  # for what was not sent yet; the exporter itself would try for a quarter minute
_W3C = TraceContextTextMapPropagator()
# By OpenTelemetry's conventions for servers: what the caller did wrong is no error of the server.
_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class OtelTracing:
    """Sends spans in the background.

    Args:
        endpoint: of the collector, `http://` for plain text, `https://` for TLS.
    """

    def __init__(self, endpoint: str) -> None:
        ours = Resource.create({SERVICE_NAME: "qwire", SERVICE_VERSION: __version__})
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our own words.
        resource = ours.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("qwire_server", __version__)

    def begin(self, front: str, method: str, headers: Mapping[str, str | bytes]) -> Span:
        """A call began."""
        facts = {"rpc.system": "grpc", "rpc.method": method}
        if front == "http":
            facts = {"http.request.method": "POST", "http.route": method}
        name = method if front == "grpc" else f"POST {method}"
        caller = _W3C.extract(headers)
        span = self._tracer.start_span(name, caller, SpanKind.SERVER, facts)
        return _CallSpan(self._tracer, span) if span.is_recording() else NO_SPAN

    def close(self) -> None:
        """Send what was not sent yet; a collector that is away is not waited for."""
        impatience = threading.Timer(_LAST_SECONDS, self._exporter.shutdown)
        impatience.start()
        self._provider.shutdown()
        impatience.cancel()


class _CallSpan:
    """The span of one call, and those of its stages."""

    def __init__(self, tracer: Tracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span
        self._computed = 0  # when a request's rows were there, nanoseconds since 1970

    def computed(self, took: Timings) -> None:
        """Stages of a whole request, laid one after the other up to now."""
        stages = {"tokenize": took.tokenize, "queue": took.queue, "compute": took.compute}
        self._computed = time.time_ns()
        began = self._computed - _nanoseconds(took.total())
        for name, seconds in stages.items():
            ended = began + _nanoseconds(seconds)
            self._stage(name, began, ended)
            began = ended

    def wrote(self, record: AnswerRecord) -> None:
        """An event, of which the SDK keeps the last 128: a stream may have any number."""
        facts = {
            "qwire.texts": record.texts,
            "qwire.failed": len(record.errors),
            "qwire.tokenize_seconds": record.tokenize_seconds,
            "qwire.queue_seconds": record.queue_seconds,
            "qwire.compute_seconds": record.compute_seconds,
            "qwire.reply_seconds": record.reply_seconds,
        }
        self._span.add_event("answer", facts)

    def end(self, record: RequestRecord) -> None:
        """Everything that is known once the call is over."""
        if self._computed:
            self._stage("reply", self._computed, time.time_ns())
        self._span.set_attributes(
            {
                "qwire.model": record.model,
                "qwire.class": record.request_class,
                "qwire.texts": record.texts,
                "qwire.tokens": record.tokens,
                "qwire.cut_tokens": record.cut,
                "qwire.failed": record.failed,
                "qwire.code": record.code,
                "qwire.reason": record.reason,
                "qwire.request_id": record.request_id,
            }
        )
        if record.code in _FAULTS:
            self._span.set_status(StatusCode.ERROR, record.reason)
        self._span.end()

    def _stage(self, name: str, began: int, ended: int) -> None:
        context = set_span_in_context(self._span)
        self._tracer.start_span(name, context, start_time=began).end(ended)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
