"""What the HTTP front takes, and from whom: plain data, chosen by the settings."""

from __future__ import annotations

from dataclasses import dataclass

from qwire_server.security.exposure import is_loopback

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits and permissions of the HTTP front.

    Attributes:
        hosts: names that the Host header may hold, in lower case; empty for any.
        origins: web origins whose pages may call; `*` for all.
        body_bytes: most of one request's body.
        wait_seconds: longest that a request without a deadline waits for room in the queue.
        max_texts: text limit of one request; it bounds the size of a body.
        token_ids: whether arrays of token ids are taken in place of texts.
        pages: whether the page, /docs and /openapi.json are there.
    """

    hosts: tuple[str, ...] = LOOPBACK_NAMES
    origins: tuple[str, ...] = ()
    body_bytes: int = 16 * 1024 * 1024
    wait_seconds: float = 45.0
    max_texts: int = 2048
    token_ids: bool = False
    pages: bool = True


def allowed_hosts(listen_on: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Names that the Host header may hold; empty for any.

    A web page whose own name is made to point here (DNS rebinding) sends that name. A server on
    loopback is safe from it by knowing its names; one on a network is asked by names that it
    cannot know.

    Args:
        listen_on: the address that the server listens on.
        chosen: by the settings; empty for the default.
    """
    if not chosen:
        return LOOPBACK_NAMES if is_loopback(listen_on) else ()
    return () if "*" in chosen else tuple(name.lower().strip("[]") for name in chosen)


def host_name(header: str) -> str:
    """The name in a Host header, without its port and brackets, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")
