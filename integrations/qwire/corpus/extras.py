"""Packages that are needed for some inputs and outputs only."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    with needing(what, extra):
        return import_module(module)


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Around what imports modules of an extra, at once or later.

    Raises:
        InvalidRequestError: a package is missing, or is not one that we can use.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise InvalidRequestError(
            f'{what} needs the package {missing}: pip install "qwire[{extra}]"'
        ) from None
    except ImportError as error:
        if (error.name or "").startswith("qwire"):
            raise  # a fault of ours
        reason = " ".join(str(error).split())
        raise InvalidRequestError(
            f'{what} cannot import a package ({reason}): pip install --upgrade "qwire[{extra}]"'
        ) from error
