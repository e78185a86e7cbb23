"""Whether a server may listen where it is told to: policy on plain data."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where a server listens, and what protects it there.

    Attributes:
        host: the address that it listens on.
        tls: whether both ports speak TLS only.
        keys: whether callers of both ports need a key.
        client_certificates: whether callers of gRPC need a certificate.
        http: whether the HTTP port is open.
    """

    host: str
    tls: bool
    keys: bool
    client_certificates: bool
    http: bool

    @property
    def missing(self) -> str:
        """What is missing on a network, such as "no TLS"; empty if nothing is."""
        if is_loopback(self.host):
            return ""
        return " and ".join(filter(None, (self._missing_tls, self._missing_keys)))

    @property
    def _missing_tls(self) -> str:
        return "" if self.tls else "no TLS (--tls-cert, --tls-key)"

    @property
    def _missing_keys(self) -> str:
        if self.keys or (self.client_certificates and not self.http):
            return ""
        if self.client_certificates:
            return (
                "no keys for HTTP, which asks nobody for a certificate (--api-keys-file, or "
                "--http-port off)"
            )
        return "no keys (--api-keys-file)"


def is_loopback(host: str) -> bool:
    """Whether this is an address of the machine's own; a name but localhost counts as elsewhere."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
