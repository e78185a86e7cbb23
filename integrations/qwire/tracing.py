"""The caller's trace, as headers. Imports nothing where the caller's process does not trace."""

from __future__ import annotations

import sys


def trace_headers() -> list[tuple[str, str]]:
    """W3C trace context of whoever calls now, if this process uses OpenTelemetry; else nothing.

    Baggage is left out: it may hold anything, and nobody asked for it to travel here.
    """
    if "opentelemetry.trace" not in sys.modules:  # then there is no span to continue
        return []
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415  optional
        TraceContextTextMapPropagator,
    )

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return list(headers.items())
