"""What a call tells whoever traces it. Knows nothing about OpenTelemetry; `otel.py` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwire_server.api.timings import Timings
    from qwire_server.engine.observer import AnswerRecord, RequestRecord


class Span(Protocol):
    """One call, seen from outside; its methods must return at once and never raise."""

    def computed(self, took: Timings) -> None:
        """The rows of a whole request are there."""

    def wrote(self, record: AnswerRecord) -> None:
        """A message of a stream was written."""

    def end(self, record: RequestRecord) -> None:
        """The call is over."""


class Tracing(Protocol):
    """Where spans come from."""

    def begin(self, front: str, method: str, headers: Mapping[str, str | bytes]) -> Span:
        """A call began.

        Args:
            front: "grpc" or "http".
            method: one of our own words.
            headers: of the call; those of W3C trace context name the caller's span.
        """

    def close(self) -> None:
        """Send what was not sent yet; blocks for seconds at most."""


class _NoSpan:
    def computed(self, took: Timings) -> None: ...

    def wrote(self, record: AnswerRecord) -> None: ...

    def end(self, record: RequestRecord) -> None: ...


class _NoTracing:
    def begin(self, _front: str, _method: str, _headers: Mapping[str, str | bytes]) -> Span:
        return NO_SPAN

    def close(self) -> None: ...


NO_SPAN: Span = _NoSpan()
NO_TRACING: Tracing = _NoTracing()
