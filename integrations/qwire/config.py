"""What a client was told, in plain values: all that travels when it is pickled or copied."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from qwire.errors import InvalidRequestError
from qwire.options import check_count, check_timeout
from qwire.target import DEFAULT_TARGET, Address, parse_target
from qwire.tracing import trace_headers
from qwire.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwire.stream import Flow
# Targets that a warning was given for: of the process, which warns once for each.
_WARNED: set[str] = set()


@dataclass(frozen=True)
class Config:
    """Checked settings of a client; see `Client` for what they mean."""

    address: Address
    model: str | None
    api_key: str | Callable[[], str] | None = field(repr=False)
    timeout: float
    max_attempts: int
    reconnect_seconds: float
    max_concurrency: int
    batch_size: int | None
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    ca_cert: str | bytes | None = field(repr=False)
    client_cert: str | bytes | None = field(repr=False)
    client_key: str | bytes | None = field(repr=False)
    server_name: str | None
    channel_options: tuple[tuple[str, Any], ...]
    user_agent: str | None


def configure(
    target: str | None,
    *,
    base_url: str | None,
    tls: bool | None,
    api_key: str | Callable[[], str] | None,
    metadata: Mapping[str, str] | None,
    ca_cert: str | bytes | None,
    client_cert: str | bytes | None,
    client_key: str | bytes | None,
    server_name: str | None,
    timeout: float,
    max_attempts: int,
    reconnect_seconds: float,
    max_concurrency: int,
    batch_size: int | None,
    channel_options: Sequence[tuple[str, Any]],
    **plain: Any,
) -> Config:
    """Fill in the environment's part and check everything.

    Raises:
        InvalidRequestError: a setting cannot be used; the sentence says which.
    """
    if target is not None and base_url is not None:
        raise InvalidRequestError("target and base_url are one setting: give only one of them")
    if (client_cert is None) != (client_key is None):
        raise InvalidRequestError("client_cert and client_key go together: give both or neither")
    if tls is None and (ca_cert is not None or client_cert is not None):
        tls = True
    where = target or base_url or os.environ.get("QWIRE_TARGET") or DEFAULT_TARGET
    address = parse_target(where, tls=tls)
    if address.tls and "," in address.target and server_name is None:
        raise InvalidRequestError(
            f"TLS with several addresses ({address.target}) needs server_name, the one name that "
            "the certificates of all have; or use dns:///name:port"
        )
    key = _check_key(os.environ.get("QWIRE_API_KEY") if api_key is None else api_key)
    if key is not None and not address.tls and not address.loopback:
        _warn_unencrypted(address.target)
    return Config(
        address=address,
        api_key=key,
        metadata=_headers(metadata or {}),
        ca_cert=ca_cert,
        client_cert=client_cert,
        client_key=client_key,
        server_name=server_name,
        timeout=check_timeout(timeout),
        max_attempts=check_count("max_attempts", max_attempts),
        reconnect_seconds=check_timeout(reconnect_seconds, "reconnect_seconds"),
        max_concurrency=check_count("max_concurrency", max_concurrency),
        batch_size=None if batch_size is None else check_count("batch_size", batch_size),
        channel_options=tuple(channel_options),
        **plain,
    )


def _check_key(key: str | Callable[[], str] | None) -> str | Callable[[], str] | None:
    """The key, or what returns it; an empty string is no key. No error repeats the value."""
    if key is None or isinstance(key, str):
        return check_header("api_key", key) if key else None
    if iscoroutinefunction(key) or iscoroutinefunction(getattr(key, "__call__", None)):  # noqa: B004  the method itself
        raise InvalidRequestError("api_key is an async function: give one that returns the key")
    if not callable(key):
        raise InvalidRequestError(
            f"api_key must be a string or a function that returns one, not {type(key).__name__}"
        )
    return key


def _warn_unencrypted(target: str) -> None:
    if target not in _WARNED:
        warn_user(
            UserWarning(f"the API key goes to {target} unencrypted: use grpcs:// or tls=True")
        )
        _WARNED.add(target)  # not before: a filter may have made it an exception


def _headers(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Metadata as gRPC takes it: keys in lower case."""
    for name, value in metadata.items():
        check_header(f"metadata {name!r}", value)
        if not name.isascii() or not name or set(name) & set(" :\r\n") or name.endswith("-bin"):
            raise InvalidRequestError(f"metadata {name!r} is no name of a text header")
    return tuple((name.lower(), value) for name, value in metadata.items())


def check_header(name: str, value: str) -> str:
    """Printable ASCII, checked here because gRPC's own complaint would show every header's value.

    Raises:
        InvalidRequestError: it is not; the value is not repeated.
    """
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise InvalidRequestError(f"{name} must be printable ASCII text")
    return value


def call_metadata(config: Config, request_id: str) -> list[tuple[str, str]]:
    """The headers of one call; a callable key is asked each time, so that it may rotate."""
    headers = [("x-request-id", request_id), *config.metadata]
    named = {name for name, _ in headers}
    headers += [(name, value) for name, value in trace_headers() if name not in named]
    key = config.api_key
    if key is not None:
        token = key if isinstance(key, str) else check_header("api_key", key())
        headers.append(("authorization", f"Bearer {token}"))
    return headers


def stream_metadata(config: Config, flow: Flow) -> list[tuple[str, str]]:
    """The headers of one call of a stream."""
    headers = call_metadata(config, flow.request_id)
    if flow.alive_seconds is not None:
        headers.append(("qwire-alive-ms", str(int(flow.alive_seconds * 1000))))
    return headers
