"""Builds the HTTP front as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.http.app import application
from qwire_server.api.http.guard import Guard
from qwire_server.api.http.listener import listen
from qwire_server.api.http.rules import Rules, allowed_hosts
from qwire_server.settings.flags import words

if TYPE_CHECKING:
    from qwire_server.api.gate import Gate
    from qwire_server.api.http.listener import HttpPort
    from qwire_server.api.metrics import MetricsObserver
    from qwire_server.engine.observer import Observer
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings


async def open_http(
    settings: Settings,
    gate: Gate,
    observer: Observer,
    metrics: MetricsObserver,
    keyring: Keyring,
) -> HttpPort | None:
    """Bind, and answer from now on; API routes are refused until the gate opens.

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
        token_ids=settings.http_token_ids,
        pages=settings.http_pages == "on",
    )
    guard = Guard(gate, observer, rules)
    app = application(guard, metrics, settings.tokenizer_threads, keyring, observer)
    return await listen(settings.host, settings.http_port, app)
