"""The names of a certificate that gRPC has verified."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_OBJECT_ID = 0x06
_COMMON_NAME = bytes.fromhex("550403")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_DNS_NAME, _URI = 0x82, 0x86  # RFC 5280, 4.2.1.6


def certificate_names(verified: Mapping[str, Iterable[bytes]]) -> list[str]:
    """Alternative names, URIs before DNS names; the common name if there are none of these.

    gRPC cuts a name at its first zero byte, and an authority may have signed
    `admin<zero>.example.org`: a certificate with such a name has none.

    Args:
        verified: what gRPC tells of a peer (`auth_context`).
    """
    if any(b"\0" in name for name in _names_in_full(_der(verified))):
        return []
    alternatives = [*verified.get("peer_uri", ()), *verified.get("peer_dns", ())]
    names = alternatives or verified.get("x509_common_name", ())
    return [name.decode("utf-8", "backslashreplace") for name in names if name]


def _der(verified: Mapping[str, Iterable[bytes]]) -> bytes:
    for pem in verified.get("x509_pem_cert", ()):
        return ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    return b""


def _names_in_full(der: bytes) -> Iterator[bytes]:
    """Common names, DNS names and URIs, wherever in the certificate."""
    elements = list(_elements(der))
    for tag, content in elements:
        if tag & 0x20:  # made of elements itself
            yield from _names_in_full(content)
    if elements and elements[0] == (_OBJECT_ID, _COMMON_NAME):
        yield elements[-1][1]
    if elements and elements[0] == (_OBJECT_ID, _ALTERNATIVE_NAMES):
        for _, names in _elements(elements[-1][1]):
            yield from (name for tag, name in _elements(names) if tag in {_DNS_NAME, _URI})


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element, one level deep; gRPC has parsed all of it before."""
    while der:
        start, length = 2, der[1]
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start], "big")
        yield der[0], der[start : start + length]
        der = der[start + length :]
