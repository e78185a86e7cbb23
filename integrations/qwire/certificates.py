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
    is_path = isinstance(given, str) and not given.startswith("-----BEGIN")
    try:
        pem = Path(given).read_bytes() if is_path else given
    except OSError as error:
        raise InvalidRequestError(f"{name} cannot be read: {error}") from error
    pem = pem.encode() if isinstance(pem, str) else pem
    if mark not in pem:
        where = f" {given}" if is_path else ""
        raise InvalidRequestError(f"{name}{where} holds no {what} in PEM form")
    return pem
