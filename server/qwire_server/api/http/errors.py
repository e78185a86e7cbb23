"""Errors as HTTP clients know them: status, hint when to return, three shapes of body."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import orjson
from starlette.responses import Response

from qwire_server.errors import (
    InvalidRequest,
    ModelFailed,
    ModelNotFound,
    NotFinite,
    NotServed,
    PermissionDenied,
    RequestError,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Shape: TypeAlias = Callable[[RequestError], tuple[int, dict[str, Any]]]

_RETRY_SECONDS = 5.0  # of a server that loads or drains: nobody knows how long that takes
_OPENAI_TYPES = {429: "rate_limit_error", 503: "service_unavailable", 504: "timeout"}
_TEI_TYPES = {429: "overloaded", 503: "unhealthy", 424: "backend", 504: "overloaded"}


class BodyTooLarge(InvalidRequest):
    """More bytes in one body than `--http-body-bytes`."""

    http_code = 413


class NotJson(InvalidRequest):
    """A body that does not say that it is JSON."""

    http_code = 415


class EncodedBody(InvalidRequest):
    """A compressed body: nothing is unpacked here, so that a small one stays small."""

    http_code = 415


class HostNotAllowed(InvalidRequest):
    """A name in the Host header that this server is not known by."""

    http_code = 403


def openai_shape(error: RequestError) -> tuple[int, dict[str, Any]]:
    """`{"error": {...}}`, as OpenAI's SDK reads it."""
    status = error.http_code
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    told: dict[str, Any] = {
        "message": error.message,
        "type": kind,
        "param": None if error.index is None else f"input[{error.index}]",
        "code": "invalid_api_key" if isinstance(error, Unauthenticated) else error.code.lower(),
    }
    return status, {"error": told}


def tei_shape(error: RequestError) -> tuple[int, dict[str, Any]]:
    """`{"error", "error_type"}` with the statuses of text-embeddings-inference."""
    status = error.http_code
    if isinstance(error, (NotServed, NotFinite, ModelFailed)):
        status = 424
    elif status == 400 or isinstance(error, ModelNotFound):
        status = 422
    fallback = "backend" if status >= 500 else "validation"
    return status, {"error": error.message, "error_type": _TEI_TYPES.get(status, fallback)}


def rerank_shape(error: RequestError) -> tuple[int, dict[str, Any]]:
    """For all at once: Cohere's SDK shows `message`, Jina's users read `detail`, TEI's `error`."""
    _, told = tei_shape(error)
    told |= {"message": error.message, "detail": error.message, "code": error.code.lower()}
    return error.http_code, told


def refusal(error: RequestError, shape: Shape) -> Response:
    """The whole response to a request that failed."""
    status, body = shape(error)
    headers = {"connection": "close"} if isinstance(error, BodyTooLarge) else {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="qwire"'
    if isinstance(error, PermissionDenied):
        headers["www-authenticate"] = 'Bearer realm="qwire", error="insufficient_scope"'
    seconds = error.retry_after
    if seconds is None and isinstance(error, Unavailable):
        seconds = _RETRY_SECONDS
    if seconds is not None:
        headers["retry-after"] = str(math.ceil(seconds))
        headers["retry-after-ms"] = str(math.ceil(seconds * 1000))  # OpenAI's SDK prefers it
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
