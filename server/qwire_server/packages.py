"""Sees that the packages of the extra `server` are installed. Imports none of them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from qwire_server.errors import StartError

# The distributions of `qwire[server]` in pyproject.toml, by the module that each brings.
SERVER_PACKAGES = {
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "huggingface_hub": "huggingface-hub",
    "pydantic": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "tomllib" if sys.version_info >= (3, 11) else "tomli": "tomli",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "fastapi": "fastapi",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "h11": "h11",
    "orjson": "orjson",
    "prometheus_client": "prometheus-client",
}


def check_packages() -> None:
    """See that all are there, before a process is started that would miss one.

    Raises:
        StartError: some are missing; the message names them.
    """
    absent = [name for module, name in SERVER_PACKAGES.items() if not _is_found(module)]
    if absent:
        noun = "package" if len(absent) == 1 else "packages"
        raise StartError(
            f'the server needs the {noun} {", ".join(absent)}: pip install "qwire[server]"'
        )


def _is_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
