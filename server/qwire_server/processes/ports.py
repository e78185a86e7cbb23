"""The ports that fronts share: found free, and kept while the server runs."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qwire_server.errors import StartError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from qwire_server.settings import Settings


class Ports:
    """Keeps both ports, without listening, so that each front can bind them; use in `with`.

    Args:
        settings: of the server.

    Attributes:
        settings: the same, with ports that are no longer 0.

    Raises:
        StartError: a port is taken; processes that share one would hide that.
    """

    def __init__(self, settings: Settings) -> None:
        self._kept = ExitStack()
        ports: dict[str, int] = {"grpc_port": self._keep(settings.host, settings.grpc_port, "grpc")}
        if settings.http_port != "off":
            ports["http_port"] = self._keep(settings.host, settings.http_port, "http")
        self.settings = settings.model_copy(update=ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.close()

    def _keep(self, host: str, port: int, name: str) -> int:
        try:
            found = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, number, _, address = found[0]
            with socket.socket(family, kind, number) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
                taken: int = alone.getsockname()[1]
            kept = self._kept.enter_context(socket.socket(family, kind, number))
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind((address[0], taken, *address[2:]))
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): the port is taken or "
                f"the address is not this machine's; choose another with --{name}-port or --host"
            ) from error
        return taken
