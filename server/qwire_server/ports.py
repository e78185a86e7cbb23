"""Opens the two ports as the settings say: gRPC, and HTTP unless it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.bind import address_of
from qwire_server.api.http.app import application
from qwire_server.api.http.guard import Guard as HttpGuard
from qwire_server.api.http.listener import listen as listen_http
from qwire_server.api.http.protocol import ConnectionLimits
from qwire_server.api.http.rules import Rules, allowed_hosts
from qwire_server.api.rpc.decoder import MessageDecoder
from qwire_server.api.rpc.door import Door
from qwire_server.api.rpc.listener import listen as listen_grpc
from qwire_server.api.rpc.messages import CheckedMessages
from qwire_server.api.rpc.names import AllowedNames
from qwire_server.api.rpc.options import server_options
from qwire_server.api.rpc.rules import StreamRules, lifetime
from qwire_server.settings.flags import words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from qwire_server.api.gate import Gate
    from qwire_server.api.http.listener import HttpPort
    from qwire_server.api.rpc.guard import Guard
    from qwire_server.api.spans import Tracing
    from qwire_server.engine.observer import Observer
    from qwire_server.protection import Protection
    from qwire_server.settings import Settings

_MAX_ELEMENTS = 65_536  # of one message: enough for any stream, and decoded within 10 ms


async def open_grpc(
    settings: Settings, gate: Gate, guard: Guard, protection: Protection, alive_seconds: float
) -> tuple[grpc.aio.Server, int]:
    """Bind, and answer from now on; calls are refused until the gate opens.

    Returns:
        The server, and the port that it listens on.

    Raises:
        StartError: the port is taken, or the address is not this machine's.
    """
    keyring, names = protection.keyring, words(settings.tls_allowed_names)
    interceptors: list[grpc.aio.ServerInterceptor] = []
    if keyring.is_on:
        interceptors.append(Door(keyring, guard))
    if names:
        interceptors.append(AllowedNames(names, guard))
    elements = max(_MAX_ELEMENTS, settings.max_texts, settings.request_tokens or 0)
    interceptors.append(CheckedMessages(MessageDecoder(elements), guard))
    life = lifetime(settings.connection_seconds)
    return await listen_grpc(
        settings.host,
        settings.grpc_port,
        gate,
        guard,
        rules=StreamRules(alive_seconds, settings.stalled_seconds, life.notice),
        options=server_options(settings.max_connections, life, share_port=settings.has_processes),
        interceptors=interceptors,
        tls=protection.tls,
        with_reflection=settings.reflection == "on",
    )


async def open_http(
    settings: Settings,
    gate: Gate,
    observer: Observer,
    metrics: Callable[[], Awaitable[bytes]],
    *,
    tracing: Tracing,
    protection: Protection,
) -> HttpPort | None:
    """The same for HTTP.

    Returns:
        The open port; None if the settings want none.

    Raises:
        StartError: the port is taken, or the address is not this machine's.
    """
    if settings.http_port == "off":
        return None
    rules = Rules(
        hosts=allowed_hosts(settings.host, words(settings.http_allowed_hosts)),
        origins=words(settings.http_cors_origins),
        body_bytes=settings.http_body_bytes,
        wait_seconds=settings.http_wait_seconds,
        max_texts=settings.max_texts,
        token_ids=settings.http_token_ids,
        pages=settings.http_pages == "on",
    )
    guard = HttpGuard(gate, observer, rules, tracing)
    app = application(guard, metrics, settings.tokenizer_threads, protection.keyring, observer)
    limits = ConnectionLimits(
        connections=settings.max_connections,
        request_seconds=settings.http_request_seconds,
        stalled_seconds=settings.stalled_seconds,
        keep_alive_seconds=settings.http_keep_alive_seconds,
    )
    return await listen_http(
        settings.host,
        settings.http_port,
        app,
        limits,
        protection.tls,
        share_port=settings.has_processes,
    )


def places(settings: Settings, grpc_port: int, http_port: int) -> str:
    """Where a server listens, as its log says it; 0 for no HTTP."""
    host, s = settings.host, "s" if settings.tls_cert else ""
    http = f" and http{s} {address_of(host, http_port)}" if http_port else ""
    return f"grpc{s} {address_of(host, grpc_port)}{http}"
