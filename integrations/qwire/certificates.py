"""Certificates and keys as callers give them: PEM itself, or the path of a file."""

from __future__ import annotations

from pathlib import Path

from qwire.errors import InvalidRequestError

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


def read_certificate(name: str, given: str | bytes | None) -> bytes | None:
    """PEM of certificates.

    Args:
        name: of the parameter.
        given: its value.

    Raises:
        InvalidRequestError: the file cannot be read, or holds none.
    """
    return _read(name, given, _CERTIFICATE, "certificate")


def read_key(name: str, given: str | bytes | None) -> bytes | None:
    """PEM of a key.

    Args:
        name: of the parameter.
        given: its value.

    Raises:
        InvalidRequestError: the file cannot be read, or holds none.
    """
    return _read(name, given, _KEY, "private key")


def _read(name: str, given: str | bytes | None, mark: bytes, what: str) -> bytes | None:
    if given is None:
        return None
    pem = _content(name, given)
    if mark not in pem:
        raise InvalidRequestError(f"{name} holds no {what} in PEM form")
    return pem


def _content(name: str, given: str | bytes) -> bytes:
    if isinstance(given, bytes):
        return given
    if given.startswith("-----BEGIN"):
        return given.encode()
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{name} cannot be read: {error}") from error
