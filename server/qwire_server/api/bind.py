"""Addresses to listen on: how they are written, and why one cannot be had."""

from __future__ import annotations

import contextlib
import errno
import socket

from qwire_server.errors import StartError

_REASONS = {
    errno.EADDRINUSE: "the port is taken by another program: choose another with {flag}",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose another --host",
    errno.EAFNOSUPPORT: "this machine has no addresses of that kind: choose another --host",
    errno.EACCES: "this user may not open that port: choose one above 1023 with {flag}",
}


def address_of(host: str, port: int) -> str:
    """Host and port as one word, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_error(host: str, port: int, error: OSError | None, flag: str) -> StartError:
    """The error message for an address that cannot be bound.

    Args:
        host: address or name.
        port: port number of the address.
        error: why; None if nobody knows.
        flag: the setting of the port, and what it takes.
    """
    if isinstance(error, socket.gaierror):
        why = f"the name is not known ({error.strerror}): choose another --host"
    else:
        number = error.errno if error else None
        said = (error and error.strerror) or "no reason is known"
        why = _REASONS.get(number or 0, said + ": choose another --host or {flag}")
    return StartError(f"cannot listen on {address_of(host, port)}: {why.format(flag=flag)}")


def find_error(host: str, port: int) -> OSError | None:
    """Why an address cannot be bound, found by trying; None if it can, by now."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, number, _, address in dict.fromkeys(found):
            with contextlib.closing(socket.socket(family, kind, number)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(address)
    except OSError as error:
        return error
    return None
