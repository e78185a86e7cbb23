"""Packages that are needed for some inputs and outputs only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from qwire.errors import InvalidRequestError


def parquet() -> Any:
    """The module `pyarrow.parquet`.

    Raises:
        InvalidRequestError: it is not installed; the message names the extra.
    """
    return need("pyarrow.parquet", "Parquet", "corpus")


def arrow() -> Any:
    """The module `pyarrow`; errors as `parquet`."""
    return need("pyarrow", "Parquet", "corpus")


def need(module: str, what: str, extra: str) -> Any:
    """Import a module of an extra.

    Raises:
        InvalidRequestError: a package is missing.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise InvalidRequestError(
            f'{what} needs the package {missing}: pip install "qwire[{extra}]"'
        ) from None
