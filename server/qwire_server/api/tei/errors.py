"""What clients of text-embeddings-inference are told, where it differs from `qwire.v1`. No policy.

Codes and the beginnings of messages are those that such clients know.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from qwire_server.errors import InvalidRequest, ModelFailed, NotFinite, NotServed, TextTooLong

if TYPE_CHECKING:
    from qwire_server.errors import RequestError

_INVALID = "Input validation error: "


class BackendFailed(ModelFailed):
    """The model raised on this text."""

    grpc_code = "FAILED_PRECONDITION"


class BackendNotFinite(NotFinite):
    """The model's vector for this text holds NaN or infinity."""

    grpc_code = "FAILED_PRECONDITION"


class NotOffered(NotServed):
    """The contract has it, this server does not."""

    grpc_code = "UNIMPLEMENTED"


def told(error: RequestError) -> RequestError:
    """The same error in the words and with the code of this contract."""
    if isinstance(error, ModelFailed):
        return BackendFailed(error.message, index=error.index)
    if isinstance(error, NotFinite):
        return BackendNotFinite(error.message, index=error.index)
    if isinstance(error, InvalidRequest):
        error = copy.copy(error)
        error.message = _INVALID + _words(error)
    return error


def _words(error: InvalidRequest) -> str:
    if isinstance(error, TextTooLong):
        return (
            f"`inputs` must have less than {error.max_tokens} tokens. Given: {error.tokens}; set "
            "`truncate`, or send a shorter text"
        )
    return error.message
