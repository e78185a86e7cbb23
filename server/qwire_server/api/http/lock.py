"""Before every route, behind the door: no key, no body read. Plain ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from qwire_server.api.call import request_id
from qwire_server.api.http.errors import refusal
from qwire_server.api.http.guard import KEY, identity
from qwire_server.api.http.needs import NEEDS, route_of, shape_of
from qwire_server.engine.observer import RequestRecord
from qwire_server.errors import RequestError
from qwire_server.security.keyring import check_need
from qwire_server.security.scopes import ANY, OPEN

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    from qwire_server.engine.observer import Observer
    from qwire_server.security.keyring import Keyring
    from qwire_server.security.scopes import Need

_MOST_LEFT_UNREAD = 16 * 1024 * 1024  # a client that sends more is cut instead of heard out


class Lock:
    """Lets in who has a key for the route, and notes whose it is.

    Args:
        app: behind it.
        keyring: the keys.
        pages: paths that need none to be read, beside those of `needs.py`.
        observer: told of each call that is refused.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, pages: Collection[str], observer: Observer
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._pages = frozenset(pages)
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers, route = Headers(scope=scope), route_of(scope["path"])
        sent = headers.get("authorization")
        scope[KEY] = self._keyring.find(sent)
        reads = scope["method"] in {"GET", "HEAD"}
        need = OPEN if reads and scope["path"] in self._pages else NEEDS.get(route, ANY)
        try:
            self._keyring.admit(sent, need)
        except RequestError as error:
            # What its client still sends is dropped by the HTTP server as it comes.
            response = refusal(error, shape_of(route))
            response.headers["x-request-id"] = request_id(headers.get("x-request-id"))
            if _is_large(headers):
                response.headers["connection"] = "close"
            self._observer.request(
                RequestRecord(
                    method=route,
                    request_id=response.headers["x-request-id"],
                    client=identity(scope),
                    request_class="interactive",
                    code=error.grpc_code,
                    reason=error.code,
                    texts=0,
                    tokens=0,
                    cut=0,
                    seconds=0.0,
                )
            )
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def check_scope(scope: Scope, need: Need) -> None:
    """See that the key that let a request in has the scope for what its body turned out to be.

    Raises:
        PermissionDenied: it has not.
    """
    if key := scope.get(KEY):
        check_need(key.scopes, need)


def _is_large(headers: Headers) -> bool:
    """Whether so much is to come, or nobody knows how much, that it is not worth hearing."""
    length = headers.get("content-length", "0")
    unknown = "transfer-encoding" in headers or not length.isdecimal()
    return unknown or int(length) > _MOST_LEFT_UNREAD
