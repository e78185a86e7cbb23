"""The clients of one reranker. Knows nothing about LlamaIndex."""

from importlib.metadata import version
from typing import Any, NamedTuple

from pydantic import SecretStr

import qwire

_USER_AGENT = f"llama-index-postprocessor-qwire/{version('llama-index-postprocessor-qwire')}"
# Fields that the clients are made from, as they are.
_FIELDS = (
    *("target", "tls", "ca_cert", "client_cert", "client_key", "server_name"),
    *("metadata", "timeout", "max_attempts", "max_concurrency", "batch_size"),
)


class Clients(NamedTuple):
    """Both clients, and the settings that they were made from."""

    settings: dict[str, Any]
    blocking: qwire.Client
    awaited: qwire.AsyncClient


def clients_for(fields: Any, made: Clients | None) -> Clients:
    """The clients for the present fields, some of which may have been assigned to.

    Args:
        fields: the reranker.
        made: what it had so far; kept unless a setting changed.

    Raises:
        qwire.InvalidRequestError: no client can be made from these settings.
    """
    settings = {name: getattr(fields, name) for name in _FIELDS}
    key = fields.api_key
    settings["api_key"] = key.get_secret_value() if isinstance(key, SecretStr) else key
    if made is not None and made.settings == settings:
        return made
    blocking = qwire.Client(**settings, user_agent=_USER_AGENT)
    awaited = qwire.AsyncClient(**settings, user_agent=_USER_AGENT)
    return Clients(settings, blocking, awaited)
