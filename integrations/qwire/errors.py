"""Every error of the client, in one tree. Knows nothing about gRPC.

QwireError
├── ConnectionFailedError     also ConnectionError: nothing answers, or the connection went away
│   └── StreamLostError       a stream lost its server, and none came back in time
├── DeadlineExceededError     also TimeoutError
├── InvalidRequestError       also ValueError: the same request would fail again
│   ├── InvalidTextError      not a string, or a lone surrogate
│   ├── TextTooLongError      tokens, with truncate="none"
│   ├── TextTooLargeError     bytes
│   ├── RequestTooLargeError
│   └── InvalidDimensionsError
├── ModelNotFoundError        another model is served there
├── NotServedError            no model of that kind runs there, such as a reranker
├── FingerprintMismatchError  other vectors than expected: do not mix them in one index
├── OverloadedError           try again after `retry_after` seconds
│   └── QuotaExceededError    this client has used its share
├── UnauthenticatedError
├── PermissionDeniedError
├── ModelFailedError          the model gave NaN, or broke, or took the server with it
├── ServerError               a fault of the server, or a reply that contradicts itself
└── ClosedError               the client was closed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from qwire.ranking import PartialScores
    from qwire.results import PartialEmbeddings


class QwireError(Exception):
    """What every error of the client is.

    Attributes:
        code: the server's ErrorCode name where it sent one, else the gRPC status name; for an error
            found before anything was sent, the code that the server would have used.
        index: position of the offending text in the caller's list, if one text is to blame.
        target: the address that was called; None if nothing was sent.
        request_id: the `x-request-id` of the call, to be found in the server's log.
        retry_after: seconds after which the server wants to be asked again.
        partial: results of a list that came before this error, a `PartialEmbeddings` or
            `PartialScores`; None if nothing was, or if the call was for no list.
    """

    default_code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        index: int | None = None,
        target: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.index = index
        self.target = target
        self.request_id = request_id
        self.retry_after = retry_after
        self.partial: PartialEmbeddings | PartialScores | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments alone; the rest travels as the state.
        return type(self), self.args, self.__dict__


class ConnectionFailedError(QwireError, ConnectionError):
    """Nothing answers at the target, or the connection went away."""

    default_code = "UNAVAILABLE"


class StreamLostError(ConnectionFailedError):
    """A stream lost its server, and none came back within the client's `reconnect_seconds`.

    A client whose target never answered anything gives up after `max_attempts` tries instead.

    Attributes:
        answered: items that the iterator handed out. With `ordered` they are the first ones.
        unanswered: texts that were taken from the caller and not handed out.
    """

    def __init__(
        self, message: str, *, answered: int = 0, unanswered: int = 0, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.answered = answered
        self.unanswered = unanswered


class DeadlineExceededError(QwireError, TimeoutError):
    """The answer did not come in time."""

    default_code = "DEADLINE_EXCEEDED"


class InvalidRequestError(QwireError, ValueError):
    """The request is wrong in itself."""

    default_code = "INVALID_REQUEST"


class InvalidTextError(InvalidRequestError):
    """A text is not a string, or cannot be written as UTF-8."""


class TextTooLongError(InvalidRequestError):
    """A text has more tokens than the model takes, and truncation was forbidden."""

    default_code = "TEXT_TOO_LONG"


class TextTooLargeError(InvalidRequestError):
    """A text has more bytes than the server takes."""

    default_code = "TEXT_TOO_LARGE"


class RequestTooLargeError(InvalidRequestError):
    """The request or its reply could never fit: send less at a time."""

    default_code = "REQUEST_TOO_LARGE"


class InvalidDimensionsError(InvalidRequestError):
    """`dimensions` lies outside what the model allows."""

    default_code = "INVALID_DIMENSIONS"


class ModelNotFoundError(QwireError):
    """The server runs another model than the one asked for."""

    default_code = "MODEL_NOT_FOUND"


class NotServedError(QwireError):
    """The server runs no model of that kind: no reranker, or nothing but a reranker."""

    default_code = "NOT_SERVED"


class FingerprintMismatchError(QwireError):
    """The vectors are not the expected ones: weights, tokenizer, dtype or prompts differ."""

    default_code = "FINGERPRINT_MISMATCH"


class OverloadedError(QwireError):
    """The server has more work than it queues."""

    default_code = "OVERLOADED"


class QuotaExceededError(OverloadedError):
    """This client has used the tokens or the streams that the server grants it for now."""

    default_code = "QUOTA_EXCEEDED"


class UnauthenticatedError(QwireError):
    """The server wants a key, or another one."""

    default_code = "UNAUTHENTICATED"


class PermissionDeniedError(QwireError):
    """The key is known and may not do this."""

    default_code = "PERMISSION_DENIED"


class ModelFailedError(QwireError):
    """The model failed on this input, or the input seems to bring the server down."""

    default_code = "MODEL_FAILED"


class ServerError(QwireError):
    """The server failed, or sent a reply that contradicts the request."""

    default_code = "INTERNAL"


class ClosedError(QwireError):
    """The client was closed; make a new one."""

    default_code = "CLOSED"
