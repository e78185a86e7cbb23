"""The ports that fronts share: found free, and kept while the server runs."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from qwire_server.api.bind import bind_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.settings import Settings


@contextmanager
def kept_ports(settings: Settings) -> Iterator[Settings]:
    """Keep both ports, without listening, so that each front can bind them.

    Yields:
        The settings, with ports that are no longer 0.

    Raises:
        StartError: a port is taken; processes that share one would hide that.
    """
    with ExitStack() as kept:
        ports = {"grpc_port": _keep(kept, settings.host, settings.grpc_port, "grpc")}
        if settings.http_port != "off":
            ports["http_port"] = _keep(kept, settings.host, settings.http_port, "http")
        yield settings.model_copy(update=ports)


def _keep(kept: ExitStack, host: str, port: int, name: str) -> int:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        with socket.socket(family, kind, number) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
            taken: int = alone.getsockname()[1]
        shared = kept.enter_context(socket.socket(family, kind, number))
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((address[0], taken, *address[2:]))
    except OSError as error:
        raise bind_error(host, port, error, f"--{name}-port") from error
    return taken
