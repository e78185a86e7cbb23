"""Around every method: who calls, what it is answered when it fails, one record when it ends.

The only place where our errors become gRPC statuses. An unforeseen exception becomes INTERNAL with
the request id; its own text, which may hold the caller's, is told nowhere (`logs.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

from qwire.v1 import embedding_pb2 as pb
from qwire_server.api.call import Call, request_id
from qwire_server.api.rpc.needs import need_of
from qwire_server.api.rpc.open_calls import OpenCalls
from qwire_server.api.spans import NO_TRACING
from qwire_server.api.trail import Trail
from qwire_server.engine.work import RequestClass
from qwire_server.errors import Internal, InvalidRequest, RequestError, Stalled
from qwire_server.security.names import certificate_names
from qwire_server.security.scopes import METRICS, suffices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any, TypeAlias

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.open_calls import OpenCall
    from qwire_server.api.spans import Tracing
    from qwire_server.engine.observer import Observer
    from qwire_server.security.keyring import Keyring
    from qwire_server.security.keys import Key

    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_LOG = logging.getLogger("qwire.server")
_HINT = re.compile(r"[0-9]{1,9}")  # milliseconds
_MAX_DETAILS = 1024  # longer ones can turn a status into RESOURCE_EXHAUSTED
_NO_MESSAGE = "a message of the stream cannot be read: it is not of this contract"
_DETAIL_TYPE = "type.googleapis.com/qwire.v1.ErrorDetail"


class Tally:
    """What a call used, filled in by its method."""

    def __init__(self) -> None:
        self.texts = 0
        self.tokens = 0
        self.cut = 0


class Guard:
    """Opens and closes every call.

    Args:
        gate: counts open calls.
        observer: told of each call when it ends.
        keyring: the keys.
        identify: who calls, if no key says it; `identity` by default.
        tracing: of calls.

    Attributes:
        calls: that are open.
    """

    def __init__(
        self,
        gate: Gate,
        observer: Observer,
        keyring: Keyring,
        identify: Callable[[Context], str] | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.calls = OpenCalls(keyring)
        self._gate = gate
        self._identify = identify or identity
        self._keyring = keyring
        self._observer = observer
        self._tracing = tracing

    @asynccontextmanager
    async def call(
        self, method: str, context: Context, default_class: RequestClass
    ) -> AsyncIterator[tuple[Call, Tally]]:
        """Run a method's body; whatever it raises becomes a status."""
        sent, need = authorization(context.invocation_metadata()), need_of(method)
        call = self._begin(method, context, default_class, self._keyring.find(sent))
        tally, began = Tally(), time.monotonic()
        context.set_trailing_metadata((("x-request-id", call.request_id),))
        code, reason = "OK", ""
        self._gate.entered()
        ending: OpenCall | None = None
        try:
            with self.calls.open(self._keyring.admit(sent, need), need) as ending:
                yield replace(call, check=ending.check), tally
        except Stalled as stalled:
            code, reason = stalled.grpc_code, stalled.code
            status, details, trailers = _status(stalled, call)
            context.set_code(status)  # no `abort`: the status follows once the client reads
            context.set_details(details)
            context.set_trailing_metadata(trailers)
        except (RequestError, DecodeError) as raised:
            error = raised if isinstance(raised, RequestError) else InvalidRequest(_NO_MESSAGE)
            code, reason = error.grpc_code, error.code
            await context.abort(*_status(error, call))
        except asyncio.CancelledError:
            if ending and ending.revoked:
                code, reason = ending.revoked.grpc_code, ending.revoked.code
                await context.abort(*_status(ending.revoked, call))
            late = time.monotonic() >= call.deadline
            code, reason = ("DEADLINE_EXCEEDED",) * 2 if late else ("CANCELLED", "")
            raise
        except grpc.aio.InternalError:  # a write to a connection that is gone: nobody listens
            code = "CANCELLED"
        except Exception:  # noqa: BLE001  whatever it is, the caller gets an answer
            code = reason = "INTERNAL"
            _LOG.exception("request %s failed", call.request_id)
            told = f"unforeseen error: the server's log tells more of request {call.request_id}"
            await context.abort(*_status(Internal(told), call))
        finally:
            self._gate.left()
            record = call.trail.end(
                call,
                tally,
                code=code,
                reason=reason,
                default_class=default_class,
                seconds=time.monotonic() - began,
            )
            self._observer.request(record)

    async def turn_away(
        self, method: str, error: RequestError, _: object, context: Context
    ) -> None:
        """In place of a method, for who may not call it; reads no message."""
        async with self.call(method, context, RequestClass.INTERACTIVE):
            raise error

    def _begin(
        self, method: str, context: Context, default_class: RequestClass, key: Key | None
    ) -> Call:
        headers = dict(context.invocation_metadata() or ())
        sent = headers.get("x-request-id")
        now = time.monotonic()
        remaining = context.time_remaining()
        deadline = math.inf if remaining is None else now + remaining
        hinted = now + _longest_wait(method, headers.get("qwire-max-wait-ms"))
        return Call(
            method=method,
            request_id=request_id(sent if isinstance(sent, str) else None),
            client=key.client if key else self._identify(context),
            deadline=min(deadline, hinted),
            is_strict=hinted < deadline,
            default_class=default_class,
            sees_clients=not self._keyring.is_on or bool(key and suffices(key.scopes, METRICS)),
            trail=Trail(self._observer.answer, self._tracing.begin("grpc", method, headers)),
        )


def _longest_wait(method: str, sent: str | bytes | None) -> float:
    """Seconds after which the caller would rather send its texts over a stream."""
    if method.endswith("Stream") or not isinstance(sent, str) or not _HINT.fullmatch(sent):
        return math.inf
    return int(sent) / 1000


def authorization(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """The header that holds the key."""
    sent = dict(metadata or ()).get("authorization")
    return sent if isinstance(sent, str) else None


def identity(context: Context) -> str:
    """The certificate's name, else the address without the port, which changes."""
    for name in certificate_names(context.auth_context()):
        return f"cert:{name}"
    peer: str = unquote(context.peer())
    kind, _, address = peer.partition(":")
    return f"{kind}:{address.rpartition(':')[0]}" if kind in {"ipv4", "ipv6"} else peer


def ascii_line(text: str) -> str:
    """What gRPC takes as a message and as metadata: printable ASCII, and not too long."""
    line = " ".join(text[:_MAX_DETAILS].splitlines())
    return "".join(c if " " <= c <= "~" else "?" for c in line)


def _status(
    error: RequestError, call: Call
) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """What ends a call: code, details, trailing metadata."""
    details = ascii_line(error.message)
    trailers: list[tuple[str, str | bytes]] = [
        ("qwire-error-code", error.code),
        ("x-request-id", call.request_id),
    ]
    code = grpc.StatusCode[error.grpc_code]
    retry_after_ms = int((error.retry_after or 0) * 1000)
    if retry_after_ms:
        trailers.append(("grpc-retry-pushback-ms", str(retry_after_ms)))
    detail = pb.ErrorDetail(
        code=error.code,
        index=error.index,
        retry_after_ms=retry_after_ms,
        request_id=call.request_id,
    )
    packed = any_pb2.Any(type_url=_DETAIL_TYPE, value=detail.SerializeToString())
    status = pb.Status(code=code.value[0], message=details, details=[packed])
    trailers.append(("grpc-status-details-bin", status.SerializeToString()))
    return code, details, tuple(trailers)
