"""The HTTP port: its sockets, and uvicorn on them in this event loop.

Signals are the server's business, and so is when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from typing import TYPE_CHECKING

import uvicorn

from qwire_server.api.bind import bind_error
from qwire_server.api.http.protocol import limited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from qwire_server.api.http.protocol import ConnectionLimits
    from qwire_server.security.tls import Tls

_MAX_HEADER_BYTES = 16 * 1024  # of one request, its first line included
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # a dead peer: 25 s


class HttpPort:
    """An open port.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._server = server
        self._serving = asyncio.ensure_future(server.serve(sockets))

    async def close(self, seconds: float) -> None:
        """Take no more connections, let responses be sent for at most so long, close."""
        # uvicorn counts whole seconds, and takes 0 as no limit.
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(seconds))
        self._server.should_exit = True
        await self._serving


class _Uvicorn(uvicorn.Server):
    """Leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def listen(
    host: str,
    port: int,
    app: ASGIApp,
    limits: ConnectionLimits,
    tls: Tls | None = None,
    *,
    share_port: bool = False,
) -> HttpPort:
    """Bind, and answer from now on.

    Args:
        host: address.
        port: 0 takes a free one.
        app: what answers.
        limits: of its connections.
        tls: of the port; None for none. Clients are asked for no certificate.
        share_port: with other processes of this server.

    Raises:
        StartError: the port is taken, or the address is not this machine's.
    """
    sockets = _bind(host, port, share_port=share_port)
    config = uvicorn.Config(
        app,
        http=limited(limits),
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        # uvicorn's type says whole seconds; the event loop takes any.
        timeout_keep_alive=limits.keep_alive_seconds,  # type: ignore[arg-type]
        server_header=False,
        proxy_headers=False,  # who calls is who connects
    )
    config.load()
    config.ssl = tls.context() if tls else None
    server = _Uvicorn(config)
    opened = HttpPort(server, sockets)
    while not server.started:  # noqa: ASYNC110  uvicorn tells nobody; it takes a few turns
        await asyncio.sleep(0)
    return opened


def _bind(host: str, port: int, *, share_port: bool) -> list[socket.socket]:
    """One socket for each address of a host, all on one port."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, number, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, number)
            sockets.append(one)
            _keep_alive(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:  # `::` is all addresses, IPv4 too, as for gRPC
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            taken = sockets[0].getsockname()[1] if len(sockets) > 1 else port
            one.bind((address[0], taken, *address[2:]))
            one.listen()  # a port that is bound, and not listened on, can be bound again
    except OSError as error:
        for one in sockets:
            one.close()
        raise bind_error(
            host, port, error, "--http-port (0 takes a free one, off opens none)"
        ) from error
    return sockets


def _keep_alive(one: socket.socket) -> None:
    """Let the kernel look for dead peers; what is accepted inherits it on Linux."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
