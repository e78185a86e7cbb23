"""Around every API route: who calls, how urgently, what it is answered when it fails, one record.

The twin of the gRPC guard: the same calls, errors and records, in HTTP's words. A client that goes
away, or whose time is over, ends the work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from qwire_server.api.call import Call, request_id
from qwire_server.api.http.body import BodyReader
from qwire_server.api.http.errors import refusal
from qwire_server.api.http.json_scan import JsonScan
from qwire_server.api.spans import NO_TRACING
from qwire_server.api.trail import Trail
from qwire_server.api.vocabulary import Vocabulary
from qwire_server.engine.work import RequestClass
from qwire_server.errors import (
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    RequestError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from starlette.requests import Request
    from starlette.types import Scope

    from qwire_server.api.gate import Gate
    from qwire_server.api.http.errors import Shape
    from qwire_server.api.http.inputs import Decode
    from qwire_server.api.http.rules import Rules
    from qwire_server.api.spans import Tracing
    from qwire_server.engine.observer import Observer

    B = TypeVar("B")

_LOG = logging.getLogger("qwire.server")
KEY = "qwire.key"  # of a request's scope: the key that let it in, or None
CLASS_HEADER = "x-qwire-class"
TIMEOUT_HEADER = "x-qwire-timeout"
INTERACTIVE_TEXTS = 16  # more in one request are bulk, unless the header says otherwise
_VALUES_PER_TEXT = 16  # a document may be an object with fields of its own
_VALUES = 1024  # of one body, beside its texts
_CLIENT_GONE = Response(status_code=499)  # nobody reads it


@dataclass(slots=True)
class Asked:
    """One request, while it is answered: its call, and what it used so far."""

    call: Call
    chosen_class: RequestClass | None
    texts: int = 0
    tokens: int = 0
    cut: int = 0

    def count(self, texts: int) -> RequestClass:
        """Note how many texts came; whose turn they are."""
        self.texts = texts
        many = RequestClass.BULK if texts > INTERACTIVE_TEXTS else RequestClass.INTERACTIVE
        return self.chosen_class or many


class Guard:
    """Opens and closes every call.

    Args:
        gate: counts open calls.
        observer: told of each call when it ends.
        rules: of this front.
        tracing: of calls.
    """

    def __init__(
        self, gate: Gate, observer: Observer, rules: Rules, tracing: Tracing = NO_TRACING
    ) -> None:
        self.gate = gate
        self.rules = rules
        self._observer = observer
        self._tracing = tracing
        self._bodies = BodyReader(rules.body_bytes)

    def decoder(self, asked: Asked) -> Decode | None:
        """From token ids to texts, without special tokens; None if ids are not taken."""
        if not self.rules.token_ids:
            return None
        join = Vocabulary(self.gate.embedder()).join
        return partial(join, asked.call, skip_special=True)

    def _scan(self) -> JsonScan:
        """Bounds of one body: some fields for each text, and the token ids that may replace them.

        Raises:
            Unavailable: nothing is served yet, so their number is not known.
        """
        texts = self.rules.max_texts * _VALUES_PER_TEXT + _VALUES
        ids = self.gate.embedder().served.limits.request_tokens if self.rules.token_ids else 0
        return JsonScan(texts + ids, texts)

    async def answer(
        self,
        method: str,
        request: Request,
        shape: Shape,
        body: Callable[[object], B],
        work: Callable[[Asked, B], Awaitable[Response]],
    ) -> Response:
        """Read the body and do the work; whatever it raises becomes a response.

        Args:
            method: one of our own words, for records.
            request: whose body was not yet read.
            shape: of errors.
            body: makes its fields of a JSON value.
            work: gives the response.
        """
        began = time.monotonic()
        span = self._tracing.begin("http", method, request.headers)
        asked = Asked(_call(method, request, Trail(self._observer.answer, span)), None)
        code, reason = "OK", ""
        self.gate.entered()
        try:
            longest_wait = self.rules.wait_seconds
            asked.call, asked.chosen_class = _urgency(asked.call, request, longest_wait)
            fields = body(await self._bodies.read(request, self._scan()))
            response = await _unless_gone(request, asked.call, work(asked, fields))
        except RequestError as error:
            code, reason = error.grpc_code, error.code
            response = refusal(error, shape)
        except ClientDisconnect:
            code, response = "CANCELLED", _CLIENT_GONE
        except asyncio.CancelledError:
            # Only a server whose drain time is over cancels a request; its last act is an answer.
            late = Unavailable("the server stopped before this request was done")
            code, reason, response = late.grpc_code, late.code, refusal(late, shape)
        except Exception:  # noqa: BLE001  whatever it is, the caller gets an answer
            code = reason = "INTERNAL"
            _LOG.exception("request %s failed", asked.call.request_id)
            told = "unforeseen error: the server's log tells more of request "
            response = refusal(Internal(told + asked.call.request_id), shape)
        finally:
            self.gate.left()
            record = asked.call.trail.end(
                asked.call,
                asked,
                code=code,
                reason=reason,
                default_class=asked.count(asked.texts),
                seconds=time.monotonic() - began,
            )
            self._observer.request(record)
        response.headers["x-request-id"] = asked.call.request_id
        return response


async def _unless_gone(request: Request, call: Call, work: Awaitable[Response]) -> Response:
    """Await the work; cancel it when the client goes away or its time is over."""
    working = asyncio.ensure_future(work)
    going = asyncio.ensure_future(_gone(request))
    left = None if call.deadline == float("inf") else call.deadline - time.monotonic()
    try:
        await asyncio.wait({working, going}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if going.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"the time given in {TIMEOUT_HEADER} passed")
    finally:
        going.cancel()
        working.cancel()
        await asyncio.gather(working, going, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Return when the client has gone; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _call(method: str, request: Request, trail: Trail) -> Call:
    return Call(
        method=method,
        request_id=request_id(request.headers.get("x-request-id")),
        client=identity(request.scope),
        deadline=float("inf"),
        default_class=RequestClass.INTERACTIVE,
        trail=trail,
    )


def _urgency(call: Call, request: Request, longest_wait: float) -> tuple[Call, RequestClass | None]:
    """The call with its deadline or its longest wait, and the class that a header asks for."""
    asked = request.headers.get(CLASS_HEADER, "").upper()
    if asked not in {"", "INTERACTIVE", "BULK"}:
        raise InvalidRequest(f"the header {CLASS_HEADER} may be interactive or bulk")
    try:
        seconds = float(request.headers.get(TIMEOUT_HEADER, "inf"))
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InvalidRequest(f"the header {TIMEOUT_HEADER} is a number of seconds above 0")
    if seconds < math.inf:
        call = replace(call, deadline=time.monotonic() + seconds)
    else:
        call = replace(call, longest_wait=longest_wait)
    return call, RequestClass[asked] if asked else None


def identity(scope: Scope) -> str:
    """The key's name, else the address without the port, which changes; as over gRPC."""
    if key := scope.get(KEY):
        return str(key.client)
    host = scope["client"][0] if scope.get("client") else "unknown"
    host = host.removeprefix("::ffff:") if "." in host else host  # IPv4 on a socket of both
    return f"ipv6:[{host}]" if ":" in host else f"ipv4:{host}"
