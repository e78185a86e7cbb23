"""Whose calls are answered, and what is shown to everybody."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads the annotations
from typing import Literal

from pydantic import BaseModel, Field


class KeySettings(BaseModel):
    """Of API keys, and of what tells about this server."""

    api_keys_file: Path | None = Field(
        None,
        description="file of API keys, made by `qwire key new`; every call must have one of them; "
        "default: no call needs a key",
    )
    reflection: Literal["on", "off"] = Field(
        "on", description="tell gRPC clients what services there are"
    )
    http_pages: Literal["on", "off"] = Field(
        "on", description="the page, /docs and /openapi.json, which need no key"
    )
