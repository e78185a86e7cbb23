"""The one place where gRPC's errors become the client's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import DecodeError

from qwire import errors
from qwire.retry import is_lost_transport
from qwire.unreachable import UNHEALTHY, why_unreachable
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qwire.target import Address

_BY_CODE: dict[str, type[errors.QwireError]] = {
    "INVALID_REQUEST": errors.InvalidRequestError,
    "INVALID_DIMENSIONS": errors.InvalidDimensionsError,
    "TEXT_TOO_LARGE": errors.TextTooLargeError,
    "TEXT_TOO_LONG": errors.TextTooLongError,
    "REQUEST_TOO_LARGE": errors.RequestTooLargeError,
    "MODEL_NOT_FOUND": errors.ModelNotFoundError,
    "FINGERPRINT_MISMATCH": errors.FingerprintMismatchError,
    "NOT_SERVED": errors.NotServedError,
    "OVERLOADED": errors.OverloadedError,
    "QUOTA_EXCEEDED": errors.QuotaExceededError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
    "NOT_FINITE": errors.ModelFailedError,
    "MODEL_FAILED": errors.ModelFailedError,
    "UNAVAILABLE": errors.ConnectionFailedError,
    "INTERNAL": errors.ServerError,
    "UNAUTHENTICATED": errors.UnauthenticatedError,
    "PERMISSION_DENIED": errors.PermissionDeniedError,
}
_HINT_DIGITS = 9  # of milliseconds: eleven days
# For a status without the server's own code: from a proxy, from gRPC itself, from another server.
_BY_STATUS: dict[str, type[errors.QwireError]] = {
    "UNAVAILABLE": errors.ConnectionFailedError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
    "UNAUTHENTICATED": errors.UnauthenticatedError,
    "PERMISSION_DENIED": errors.PermissionDeniedError,
    "INVALID_ARGUMENT": errors.InvalidRequestError,
    "RESOURCE_EXHAUSTED": errors.OverloadedError,
}
_TRAILERS = re.compile(r" \[(qwire-error-code=\w+(?: grpc-retry-pushback-ms=\d+)?)\]$")
# What a broken connection is never reported as; any other status may be one (grpc-aio.md 2).
_DEFINITE = frozenset(_BY_STATUS) - {"UNAVAILABLE"} | {
    "UNIMPLEMENTED",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
}


class RpcEnd(Protocol):
    """What the errors of grpc and of grpc.aio have in common."""

    def code(self) -> Any:
        """The gRPC status."""

    def details(self) -> str | None:
        """Its message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with it."""


@dataclass(frozen=True)
class Failure:
    """How a call ended, as plain data.

    Attributes:
        status: name of the gRPC status.
        code: the server's own ErrorCode name; None if the end did not come from a Qwire server.
        details: the status message.
        index: of the offending text in the request.
        retry_after: seconds, the server's hint.
        request_id: as the server knows it.
    """

    status: str
    code: str | None = None
    details: str = ""
    index: int | None = None
    retry_after: float | None = None
    request_id: str | None = None

    @property
    def is_word(self) -> bool:
        """Whether a Qwire server said so, be it only to gRPC, which asks whether it serves."""
        return self.code is not None or UNHEALTHY in self.details

    @property
    def may_be_lost_transport(self) -> bool:
        """Whether a stream that ended so may simply have lost its connection."""
        if self.code is not None or self.details == UNREADABLE.details:
            return False
        return self.status not in _DEFINITE


# How gRPC's sync client ends a call whose reply is no message; its aio one gives None instead.
UNREADABLE = Failure("INTERNAL", details="Exception deserializing response!")


def read_failure(end: RpcEnd) -> Failure:
    """Read status, trailers and details of a call that did not succeed."""
    # Not dict(metadata): grpc.aio's of before 1.66 claims to be a mapping and fails as one.
    trailers = dict(tuple(end.trailing_metadata() or ()))
    details, in_words = _split(end.details() or "")
    trailers |= in_words
    code = trailers.get("qwire-error-code")
    detail = _read_detail(trailers.get("grpc-status-details-bin"))
    pushback = str(trailers.get("grpc-retry-pushback-ms"))
    # Longer ones are years, and beyond some thousand digits Python refuses to read them.
    is_hint = pushback.isdecimal() and len(pushback) <= _HINT_DIGITS
    milliseconds = int(pushback) if is_hint else detail.retry_after_ms
    return Failure(
        status=end.code().name,
        code=code if isinstance(code, str) else None,
        details=details,
        index=detail.index if detail.HasField("index") else None,
        retry_after=milliseconds / 1000 if milliseconds else None,
        request_id=detail.request_id or None,
    )


def _split(details: str) -> tuple[str, dict[str, str]]:
    """The message, and trailers at its end, where something on the way (Ray) drops real ones."""
    if found := _TRAILERS.search(details):
        return details[: found.start()], dict(pair.split("=", 1) for pair in found[1].split())
    return details, {}


def _read_detail(data: str | bytes | None) -> pb.ErrorDetail:
    """The ErrorDetail inside a google.rpc.Status; an empty one if there is none."""
    detail = pb.ErrorDetail()
    try:
        for any_message in pb.Status.FromString(data if isinstance(data, bytes) else b"").details:
            if any_message.Unpack(detail):
                break
    except DecodeError:  # somebody else's trailer
        return pb.ErrorDetail()
    return detail


def to_error(
    failure: Failure,
    address: Address,
    *,
    offset: int = 0,
    request_id: str | None = None,
    timeout: float | None = None,
) -> errors.QwireError:
    """The typed error of a failure.

    Args:
        failure: how the call ended.
        address: where it went.
        offset: position in the caller's list of the request's first text.
        request_id: what the call carried; the server's own word wins.
        timeout: seconds the call had, for the message.
    """
    kind = _BY_CODE.get(failure.code or "") or _BY_STATUS.get(failure.status, errors.ServerError)
    if failure.code is None and is_lost_transport(failure):
        kind = errors.ConnectionFailedError
    if failure.code is None and "message larger than max" in failure.details:
        kind = errors.RequestTooLargeError
    index = None if failure.index is None else failure.index + offset
    request_id = failure.request_id or request_id
    return kind(
        _explain(failure, address, index, request_id, timeout),
        code=failure.code or failure.status,
        index=index,
        target=address.target,
        request_id=request_id,
        retry_after=failure.retry_after,
    )


def text_error(
    failure: pb.TextError, address: Address, position: int, request_id: str
) -> errors.QwireError:
    """The typed error of one text of a stream; `position` is its place in the input."""
    code = pb.ErrorCode.Name(failure.code) if failure.code in pb.ErrorCode.values() else "INTERNAL"
    kind = _BY_CODE.get(code, errors.ServerError)
    message = name_index(failure.message, position)
    return kind(
        f"{message} ({address.target}, request {request_id})",
        code=code,
        index=position,
        target=address.target,
        request_id=request_id,
    )


def error_of(code: str, message: str) -> errors.QwireError:
    """The typed error of one of the server's own codes."""
    return _BY_CODE.get(code, errors.ServerError)(message, code=code or None)


def name_index(message: str, index: int) -> str:
    """Make a message name a text as the caller counts: the server counts within one request."""
    renamed, times = re.subn(r"\btext \d+\b", f"text {index}", message, count=1)
    return renamed if times else f"text {index}: {message}"


def _explain(
    failure: Failure,
    address: Address,
    index: int | None,
    request_id: str | None,
    timeout: float | None,
) -> str:
    """A sentence with the target and what to do."""
    if failure.code is not None:
        message = failure.details if index is None else name_index(failure.details, index)
        return f"{message} ({address.target}, request {request_id})"
    if failure.status == "UNAVAILABLE":
        return why_unreachable(failure.details, address)
    advice = _ADVICE.get(failure.status, "")
    if "message larger than max" in failure.details:
        advice = ": send or ask for less at a time, with a smaller batch_size"
    if failure.status == "DEADLINE_EXCEEDED" and timeout is not None:
        advice = f": no answer within {timeout:g} s; raise `timeout`, or see whether it is up"
    return f"{address.target} answered {failure.status} ({failure.details}){advice}"


_ADVICE = {
    "UNAUTHENTICATED": ": give the server's key as api_key or in QWIRE_API_KEY",
    "PERMISSION_DENIED": ": this key may not do that",
    "UNIMPLEMENTED": ": it speaks gRPC, but is no Qwire server of this version",
}
