"""httpx's calls and clients, with a time limit that only a hang reaches.

httpx's own default is five seconds, which a busy machine needs now and then.
"""

from __future__ import annotations

from typing import Any

import httpx

from support.machine_speed import hang_limit

_SECONDS = 20.0


def get(url: str, **options: Any) -> httpx.Response:
    """`httpx.get`."""
    return httpx.get(url, **_patient(options))


def head(url: str, **options: Any) -> httpx.Response:
    """`httpx.head`."""
    return httpx.head(url, **_patient(options))


def post(url: str, **options: Any) -> httpx.Response:
    """`httpx.post`."""
    return httpx.post(url, **_patient(options))


def options(url: str, **options: Any) -> httpx.Response:
    """`httpx.options`."""
    return httpx.options(url, **_patient(options))


def client(**options: Any) -> httpx.Client:
    """`httpx.Client`."""
    return httpx.Client(**_patient(options))


def async_client(**options: Any) -> httpx.AsyncClient:
    """`httpx.AsyncClient`."""
    return httpx.AsyncClient(**_patient(options))


def _patient(options: dict[str, Any]) -> dict[str, Any]:
    return {"timeout": hang_limit(_SECONDS)} | options
