"""What a caller can be told, and how a start can fail.

    ServerError
    +-- StartError                 the process ends with status 2 and this one line
    |   +-- ModelError             the model cannot be served
    +-- RequestError               becomes a status on the wire
        +-- Unauthenticated        UNAUTHENTICATED, 401
        +-- PermissionDenied       PERMISSION_DENIED, 403
        +-- InvalidRequest         INVALID_ARGUMENT, 400
        |   +-- InvalidDimensions
        |   +-- TextTooLarge       bytes
        |   +-- TextTooLong        tokens, with truncation off
        |   +-- RequestTooLarge    more tokens than one request may have
        +-- ModelNotFound          NOT_FOUND, 404
        +-- FingerprintMismatch    FAILED_PRECONDITION, 412
        +-- NotServed              FAILED_PRECONDITION, 412
        +-- Overloaded             RESOURCE_EXHAUSTED, 429
        +-- QuotaExceeded          RESOURCE_EXHAUSTED, 429
        +-- DeadlineExceeded       DEADLINE_EXCEEDED, 504
        +-- Unavailable            UNAVAILABLE, 503
        |   +-- Stalled            what was sent is not read
        +-- NotFinite              INTERNAL, 500
        +-- ModelFailed            INTERNAL, 500
        +-- Internal               INTERNAL, 500

A message says what happened, to which input, and what to do. It never holds text of the input.
"""

from __future__ import annotations

from typing import ClassVar


class ServerError(Exception):
    """Whatever this package raises on purpose."""


class StartError(ServerError):
    """The server cannot start as it was told to; the message says what to do."""


class ModelError(StartError):
    """This model cannot be served faithfully; the message says why and what to do."""


class RequestError(ServerError):
    """An answer that is not vectors.

    Attributes:
        code: name of the `qwire.v1.ErrorCode`.
        grpc_code: name of the gRPC status.
        http_code: HTTP status.
        index: position of the offending text in the request, if one text is to blame.
        retry_after: seconds to wait before trying again, if that helps.
    """

    code: ClassVar[str] = "INTERNAL"
    grpc_code: ClassVar[str] = "INTERNAL"
    http_code: ClassVar[int] = 500

    def __init__(
        self, message: str, *, index: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.index = index
        self.retry_after = retry_after


class Unauthenticated(RequestError):
    """No key, or none that is known here; never says which part of it is wrong."""

    code = "UNAUTHENTICATED"
    grpc_code = "UNAUTHENTICATED"
    http_code = 401


class PermissionDenied(RequestError):
    """Known, and may not do this."""

    code = "PERMISSION_DENIED"
    grpc_code = "PERMISSION_DENIED"
    http_code = 403


class InvalidRequest(RequestError):
    """The request can never be answered as it stands."""

    code = "INVALID_REQUEST"
    grpc_code = "INVALID_ARGUMENT"
    http_code = 400


class InvalidDimensions(InvalidRequest):
    """`dimensions` outside what the model allows."""

    code = "INVALID_DIMENSIONS"


class TextTooLarge(InvalidRequest):
    """A text with more bytes than the server takes."""

    code = "TEXT_TOO_LARGE"


class TextTooLong(InvalidRequest):
    """A text with more tokens than the model takes, and truncation was off.

    Attributes:
        tokens: of the text.
        max_tokens: that the model takes.
    """

    code = "TEXT_TOO_LONG"
    tokens: int = 0
    max_tokens: int = 0


class RequestTooLarge(InvalidRequest):
    """More tokens in one request than the server takes."""

    code = "REQUEST_TOO_LARGE"


class ModelNotFound(RequestError):
    """Another model than the served one was asked for."""

    code = "MODEL_NOT_FOUND"
    grpc_code = "NOT_FOUND"
    http_code = 404


class FingerprintMismatch(RequestError):
    """The vectors would differ from those that the caller has."""

    code = "FINGERPRINT_MISMATCH"
    grpc_code = "FAILED_PRECONDITION"
    http_code = 412


class NotServed(RequestError):
    """This server runs no model of the kind that was asked for."""

    code = "NOT_SERVED"
    grpc_code = "FAILED_PRECONDITION"
    http_code = 412


class Overloaded(RequestError):
    """The queue is full; the same request may fit later."""

    code = "OVERLOADED"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_code = 429


class QuotaExceeded(RequestError):
    """This client has used what it may use for now."""

    code = "QUOTA_EXCEEDED"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_code = 429


class DeadlineExceeded(RequestError):
    """The caller's deadline passed, or would pass, before the work is done."""

    code = "DEADLINE_EXCEEDED"
    grpc_code = "DEADLINE_EXCEEDED"
    http_code = 504


class Unavailable(RequestError):
    """Loading, draining or failing: try again, perhaps elsewhere."""

    code = "UNAVAILABLE"
    grpc_code = "UNAVAILABLE"
    http_code = 503


class Stalled(Unavailable):
    """What this client was sent lay unread for `--stalled-seconds`."""


class NotFinite(RequestError):
    """The model's vector for this text holds NaN or infinity."""

    code = "NOT_FINITE"


class ModelFailed(RequestError):
    """The model raised on this text."""

    code = "MODEL_FAILED"


class Internal(RequestError):
    """A bug of ours."""


def _leaves(cls: type[RequestError]) -> list[type[RequestError]]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in _leaves(sub))]


BY_CODE: dict[str, type[RequestError]] = {
    leaf.code: leaf for leaf in reversed(_leaves(RequestError))
}
"""Class of each code; the engine reports codes, the front raises classes."""
