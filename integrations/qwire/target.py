"""Reads an address as people write it. Knows nothing about channels."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from qwire.errors import InvalidRequestError

DEFAULT_PORT = 50051
DEFAULT_TARGET = f"localhost:{DEFAULT_PORT}"

# What gRPC's own resolvers take; such a target is passed on as it is.
_GRPC_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:", "xds:")


class Address(NamedTuple):
    """Where to connect.

    Attributes:
        target: in gRPC's words, or several `host:port` with commas between them.
        tls: whether to encrypt.
        loopback: whether all of it is this very machine.
        several: whether it may be several servers, of which each is used.
    """

    target: str
    tls: bool
    loopback: bool
    several: bool = False


def parse_target(target: str, *, tls: bool | None = None) -> Address:
    """Turn `host`, `host:port`, `grpc(s)://host:port` or a gRPC name into an `Address`.

    Several servers are `host:port,host:port`, or `dns:///name:port` for all that a name stands for.

    Args:
        target: the address; a missing port is 50051.
        tls: None decides by the scheme (only `grpcs://` is TLS).

    Raises:
        InvalidRequestError: an HTTP address, or nothing that can be read.
    """
    text = target.strip().rstrip("/") if isinstance(target, str) else ""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if mark and scheme in {"http", "https"}:
        raise InvalidRequestError(_not_http(target, scheme, rest))
    if mark and scheme in {"grpc", "grpcs"}:
        if scheme == "grpcs" and tls is False:
            raise InvalidRequestError(f"{target!r} asks for TLS and tls=False forbids it")
        return _hosts(rest, target, tls=bool(tls) or scheme == "grpcs")
    if text.lower().startswith(_GRPC_SCHEMES):
        several = text.lower().startswith("dns:") or "," in text
        return Address(text, bool(tls), _is_loopback(text), several)
    if mark:
        raise _unreadable(target)
    return _hosts(text, target, tls=bool(tls))


def _hosts(listed: str, target: str, *, tls: bool) -> Address:
    """One `host:port`, or several with commas between them."""
    hosts = [_with_port(host.strip(), target) for host in listed.split(",")]
    return Address(",".join(hosts), tls, _is_loopback(listed), len(hosts) > 1)


def _not_http(target: str, scheme: str, rest: str) -> str:
    host = rest.partition("/")[0]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    form = f"{'grpcs://' if scheme == 'https' else ''}{host or 'localhost'}:{DEFAULT_PORT}"
    return (
        f"{target!r} is an HTTP address and this client speaks gRPC: use {form!r} "
        f"({DEFAULT_PORT} is Qwire's gRPC port unless the server was told otherwise)"
    )


def _unreadable(target: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"cannot read the target {target!r}: use host:port, as in {DEFAULT_TARGET!r}; several "
        "servers are host:port,host:port, or dns:///name:port for all that a name stands for"
    )


def _with_port(host: str, target: str) -> str:
    """Add the default port; a bare IPv6 address gets its brackets."""
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    if not host or host.startswith(":") or set(host) & set("/@ "):
        raise _unreadable(target)
    after_name = host.rpartition("]")[2] if host.startswith("[") else host
    _, colon, port = after_name.rpartition(":")
    if not colon:
        return f"{host}:{DEFAULT_PORT}"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise _unreadable(target)
    return host


def _is_loopback(target: str) -> bool:
    """Whether every address named is this machine; unknown names count as elsewhere."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme.lower() in {"unix", "unix-abstract"}:
        return True
    if colon and scheme.lower() in {"dns", "ipv4", "ipv6"}:
        target = rest.rpartition("/")[2]
    return all(_is_loopback_host(_host(part.strip())) for part in target.split(","))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback_host(host: str) -> bool:
    if host.lower().rstrip(".") in {"localhost", "ip6-localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
