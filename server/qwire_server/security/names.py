"""The names of a certificate that gRPC has verified."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Tags of a URI and of a DNS name among the alternative names (RFC 5280, 4.2.1.6).
_KINDS = (("peer_uri", 0x86), ("peer_dns", 0x82))
_COMMON_NAME = bytes.fromhex("0603550403")


def certificate_names(verified: Mapping[str, Iterable[bytes]]) -> list[str]:
    """Alternative names, URIs before DNS names; the common name if there are none.

    gRPC cuts a name at its first zero byte, and an authority may have signed "admin\\0.example": a
    name counts only if the certificate holds it as it is told.

    Args:
        verified: what gRPC tells of a peer (`auth_context`).
    """
    der = _der(verified)
    names = [
        name
        for key, tag in _KINDS
        for name in verified.get(key, ())
        if bytes([tag]) + _length(name) + name in der
    ]
    if not any(verified.get(key) for key, _ in _KINDS):
        names = [n for n in verified.get("x509_common_name", ()) if _is_common_name(n, der)]
    return [name.decode("utf-8", "backslashreplace") for name in names]


def _der(verified: Mapping[str, Iterable[bytes]]) -> bytes:
    for pem in verified.get("x509_pem_cert", ()):
        return ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    return b""


def _length(name: bytes) -> bytes:
    """As DER writes it; a name has less than 64 KiB."""
    if len(name) < 0x80:
        return bytes([len(name)])
    octets = len(name).to_bytes(2, "big").lstrip(b"\0")
    return bytes([0x80 | len(octets)]) + octets


def _is_common_name(name: bytes, der: bytes) -> bool:
    """Whether it is one in full, in whichever of the types of strings."""
    start = 0
    while (start := der.find(_COMMON_NAME, start) + 1) > 0:
        if name and der[start + len(_COMMON_NAME) :].startswith(_length(name) + name):
            return True
    return False
