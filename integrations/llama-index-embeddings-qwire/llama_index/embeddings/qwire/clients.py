"""The clients of one embedding object, and whose turn it is. Knows nothing about LlamaIndex."""

import asyncio
from importlib.metadata import version
from typing import Any, NamedTuple

from pydantic import SecretStr

import qwire

_USER_AGENT = f"llama-index-embeddings-qwire/{version('llama-index-embeddings-qwire')}"
# Fields that the clients are made from, as they are.
_FIELDS = (
    *("target", "tls", "ca_cert", "client_cert", "client_key", "server_name"),
    *("metadata", "timeout", "max_attempts", "max_concurrency"),
)


class Turns:
    """Bounds the async calls in flight, in each event loop by itself; a copy starts anew.

    LlamaIndex starts all slices of an async batch at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_loop: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def here(self) -> asyncio.Semaphore:
        """The bound of the running loop."""
        for loop in list(self._by_loop):
            if loop.is_closed():
                self._by_loop.pop(loop, None)
        loop = asyncio.get_running_loop()
        return self._by_loop.setdefault(loop, asyncio.Semaphore(self._most))

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, (self._most,)


class Clients(NamedTuple):
    """Both clients, the turns of the second, and the settings that they were made from."""

    settings: dict[str, Any]
    blocking: qwire.Client
    awaited: qwire.AsyncClient
    turns: Turns


def clients_for(fields: Any, made: Clients | None) -> Clients:
    """The clients for the present fields, some of which may have been assigned to.

    Args:
        fields: the embedding object.
        made: what it had so far; kept unless a setting changed.

    Raises:
        qwire.InvalidRequestError: no client can be made from these settings.
    """
    settings = {name: getattr(fields, name) for name in _FIELDS}
    settings["model"] = fields.model_name or None
    key = fields.api_key
    settings["api_key"] = key.get_secret_value() if isinstance(key, SecretStr) else key
    if made is not None and made.settings == settings:
        return made
    blocking = qwire.Client(**settings, user_agent=_USER_AGENT)
    awaited = qwire.AsyncClient(**settings, user_agent=_USER_AGENT)
    return Clients(settings, blocking, awaited, Turns(fields.max_concurrency))
