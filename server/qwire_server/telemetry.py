"""Builds what traces calls, as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.spans import NO_TRACING
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from qwire_server.api.spans import Tracing
    from qwire_server.settings import Settings


def open_tracing(settings: Settings) -> Tracing:
    """Spans to a collector; nothing at all, and nothing imported, where none is named.

    Raises:
        StartError: OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        return NO_TRACING
    try:
        from qwire_server.api.otel import OtelTracing  # noqa: PLC0415  optional
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise StartError(
            '--otlp-endpoint needs OpenTelemetry: pip install "qwire[otel]", or leave it out'
        ) from error
    return OtelTracing(settings.otlp_endpoint)
