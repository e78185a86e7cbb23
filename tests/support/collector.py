"""A collector of OpenTelemetry spans: OTLP over gRPC on a real socket, and what came."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(pb_grpc.TraceServiceServicer):
    """Keeps every request."""

    def __init__(self) -> None:
        self.requests: list[pb.ExportTraceServiceRequest] = []
        self.port = 0
        self._came = threading.Condition()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request, context):  # noqa: N802
        with self._came:
            self.requests.append(request)
            self._came.notify_all()
        return pb.ExportTraceServiceResponse()

    def spans(self, trace_id: int) -> list[Span]:
        """Those of one trace, so far."""
        wanted = trace_id.to_bytes(16, "big")
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id == wanted
        ]

    def wait(self, trace_id: int, name: str, seconds: float = 30) -> Span:
        """The span of that name, as soon as it has come."""
        ends = time.monotonic() + hang_limit(seconds)
        while True:
            for span in self.spans(trace_id):
                if span.name == name:
                    return span
            with self._came:
                left = ends - time.monotonic()
                assert left > 0, f"no span {name} of this trace came"
                self._came.wait(min(left, 0.2))


@contextmanager
def collector() -> Iterator[Collector]:
    """Run one until the block is left."""
    collecting = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(collecting, server)
    collecting.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collecting
    finally:
        server.stop(None).wait()
