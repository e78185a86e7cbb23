"""Before every route: the Host header, and the headers of every response. Plain ASGI, no body read.

With JSON as the only type that bodies may have (`body.py`) and no CORS unless it is configured, a
web page of another origin can make its browser send nothing here that has an effect, and read
nothing. A page whose own name is made to point here is of the same origin; its name gives it away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders

from qwire_server.api.http.errors import HostNotAllowed, openai_shape, refusal
from qwire_server.api.http.rules import host_name

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from qwire_server.api.http.rules import Rules

_ABSOLUTE = re.compile(rb"https?://([^/]*)", re.IGNORECASE)
_HEADERS = {
    # The page and /docs need scripts, styles and answers of this server, and nothing of any other.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Door:
    """Lets in who may come in."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._hosts = rules.hosts
        # With CORS configured, pages elsewhere may read what they are answered.
        self._headers = {
            name: value
            for name, value in _HEADERS.items()
            if name != "cross-origin-resource-policy" or not rules.origins
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        scope = _without_origin(scope)
        if scope["method"] == "HEAD":  # the HTTP server leaves the body of the answer out
            scope = {**scope, "method": "GET"}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._app if self._knows(Headers(scope=scope).get("host", "")) else _stranger
        await app(scope, receive, with_headers)

    def _knows(self, host: str) -> bool:
        return not self._hosts or host_name(host) in self._hosts


def _without_origin(scope: Scope) -> Scope:
    """The scope of a request whose target names this server too, as `GET http://host/path`.

    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2: the target's host replaces the header's.
    """
    target: bytes = scope["raw_path"]
    found = _ABSOLUTE.match(target)
    if not found:
        return scope
    path = target[found.end() :] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "headers": [*headers, (b"host", found[1].rpartition(b"@")[2])],
    }


async def _stranger(scope: Scope, receive: Receive, send: Send) -> None:
    told = (
        "this server is not known by the name in the Host header: use localhost or 127.0.0.1, or "
        "start it with --http-allowed-hosts"
    )
    await refusal(HostNotAllowed(told), openai_shape)(scope, receive, send)
