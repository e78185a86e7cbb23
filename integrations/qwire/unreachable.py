"""Why nothing could be reached, in a sentence that says what to do.

gRPC's word alone will not do: `localhost` is two addresses, and gRPC reports the error of whichever
failed last. With an HTTP server on 127.0.0.1 it says, three times in four (measured), that nothing
listens at ::1. So a port of this machine is looked at.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from qwire.target import DEFAULT_PORT

if TYPE_CHECKING:
    from qwire.target import Address

# Twice this is the most that a failing call waits here; the machine answers itself at once.
_LOOK_SECONDS = 0.2

# gRPC's words where it checks the health of several servers and none of them serves.
UNHEALTHY = "backend unhealthy"

_NOT_HTTP2 = ("Failed parsing HTTP/2", "http1", "HTTP/1")


def why_unreachable(details: str, address: Address) -> str:
    """The sentence for an UNAVAILABLE that came from gRPC itself, with its `details`."""
    target = address.target
    refused = "Connection refused" in details
    listener = _local_listener(address) if refused else None
    if UNHEALTHY in details:
        return (
            f"no server of {target} serves now: they load their model, or stop, or have failed "
            f"({details})"
        )
    if "resol" in details.lower():
        return (
            f"the host of {target} cannot be found: check target/QWIRE_TARGET"
            f"{_proxy_hint(address)} ({details})"
        )
    if "handshake failed" in details.lower() or (address.tls and listener is not None):
        return (
            f"the TLS handshake with {target} failed: if the server has no TLS, leave out grpcs:// "
            f"and tls=True; if its certificate is private, give ca_cert ({details})"
        )
    if listener == "http" or any(words in details for words in _NOT_HTTP2):
        return (
            f"{target} does not speak gRPC: it looks like an HTTP port; "
            f"use the server's gRPC port, {DEFAULT_PORT} unless it was told otherwise ({details})"
        )
    if listener is not None or not refused:
        return (
            f"no gRPC server answers at {target}: see whether it is up, or starting; "
            f"if it has TLS, use grpcs://{_proxy_hint(address)} ({details})"
        )
    return (
        f"nothing answers at {target}: start one with `qwire serve`, or set target/QWIRE_TARGET"
        f"{_proxy_hint(address)} ({details})"
    )


def _proxy_hint(address: Address) -> str:
    """What gRPC does without a word, and its errors then name the proxy's address."""
    if address.loopback:
        return ""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        if os.environ.get(name):
            return f"; ${name} is set, so the call went through that proxy unless no_proxy names it"
    return ""


def _local_listener(address: Address) -> str | None:
    """What listens at a `host:port` of this machine: "http", "other", or None for nothing."""
    host, _, port = address.target.rpartition(":")
    if not address.loopback or not port.isdecimal():
        return None
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _LOOK_SECONDS) as connection:
            return _protocol(connection)
    except OSError:
        return None


def _protocol(connection: socket.socket) -> str:
    try:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return "http" if connection.recv(5) == b"HTTP/" else "other"
    except OSError:
        return "other"
