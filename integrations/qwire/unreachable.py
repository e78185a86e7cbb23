"""Why nothing could be reached, in a sentence that says what to do.

gRPC's word alone will not do: `localhost` is two addresses, and gRPC reports the error of whichever
failed last. With an HTTP server on 127.0.0.1 it says, three times in four (measured), that nothing
listens at ::1. So a port of this machine is looked at.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

from qwire.handshake import (
    handshake_failed,
    no_tls_there,
    tls_is_missing,
    why_no_tls,
    why_tls_is_missing,
)
from qwire.target import DEFAULT_PORT

if TYPE_CHECKING:
    from qwire.target import Address

# Four times this is the most that a failing call waits here; the machine answers itself at once.
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
    if told := _about_tls(details, address, listener):
        return f"{told} ({details})"
    if listener == "http" or any(words in details for words in _NOT_HTTP2):
        return (
            f"{target} does not speak gRPC: it looks like an HTTP port; "
            f"use the server's gRPC port, {DEFAULT_PORT} unless it was told otherwise ({details})"
        )
    if listener is not None or not refused:
        return (
            f"no gRPC server answers at {target}: see whether it is up, or starting"
            f"{_proxy_hint(address)} ({details})"
        )
    return (
        f"nothing answers at {target}: start one with `qwire serve`, or set target/QWIRE_TARGET"
        f"{_proxy_hint(address)} ({details})"
    )


def _about_tls(details: str, address: Address, listener: str | None) -> str:
    """What is wrong with TLS on either side; empty if nothing is known to be."""
    target = address.target
    if listener is None:  # gRPC has seen what there is to see
        return why_no_tls(details, target) if address.tls else why_tls_is_missing(details, target)
    if listener == "tls":
        return handshake_failed(target) if address.tls else tls_is_missing(target)
    return no_tls_there(target) if address.tls else ""


def _proxy_hint(address: Address) -> str:
    """What gRPC does without a word, and its errors then name the proxy's address."""
    if address.loopback:
        return ""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        if os.environ.get(name):
            return f"; ${name} is set, so the call went through that proxy unless no_proxy names it"
    return ""


def _local_listener(address: Address) -> str | None:
    """What listens at a `host:port` of this machine: "tls", "http", "other"; None for nothing."""
    host, _, port = address.target.rpartition(":")
    if not address.loopback or not port.isdecimal():
        return None
    where = (host.strip("[]"), int(port))
    try:
        for protocol in (_speaks_tls, _speaks_http):
            with socket.create_connection(where, _LOOK_SECONDS) as connection:
                if found := protocol(connection):
                    return found
    except OSError:
        return None
    return "other"


def _speaks_tls(connection: socket.socket) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent there
    try:
        context.wrap_socket(connection).close()
    except OSError:
        return ""
    return "tls"


def _speaks_http(connection: socket.socket) -> str:
    try:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return "http" if connection.recv(5) == b"HTTP/" else ""
    except OSError:
        return ""
