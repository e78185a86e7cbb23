"""A certificate with its key, proved by a handshake before anybody sees it. Knows no network."""

from __future__ import annotations

import contextlib
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# The certificate is its own trust, and its dates are read before they are judged: that one is
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for.
_AS_IT_IS = ssl.VERIFY_X509_PARTIAL_CHAIN | 0x200000
# How the key of an Ed25519 certificate begins (RFC 8410). gRPC's own clients take none (ran).
_ED25519 = bytes.fromhex("302a300506032b6570032100")
# Two weeks are enough to renew by hand; short-lived certificates are renewed by machines, before a
# third of their life is left.
_WARN_SECONDS = 14 * 86400
_WARN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server presents, and whom it believes.

    Attributes:
        chain: PEM, the server's own certificate first.
        key: PEM.
        client_ca: PEM of the authorities of clients; None if clients need no certificate.
        context: for a server that asks for no client certificate; TLS 1.2 at least.
        starts: seconds since 1970.
        expires: the same.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: bytes | None = field(repr=False)
    context: ssl.SSLContext = field(repr=False)
    starts: float
    expires: float

    def overdue(self, now: float) -> str:
        """What to say if it should have been renewed by `now`; empty if it need not."""
        left = self.expires - now
        if left <= 0:
            return f"the certificate expired on {_date(self.expires)}: clients refuse it"
        if left < min(_WARN_SECONDS, _WARN_SHARE * (self.expires - self.starts)):
            return f"the certificate expires on {_date(self.expires)}: renew it"
        return ""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where it is."""

    chain: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> Sequence[Path]:
        """Of the files that there are."""
        return [path for path in (self.chain, self.key, self.client_ca) if path]

    def parse(self, contents: Sequence[bytes]) -> Certificate:
        """What the files at `paths` say, proved to be of use now.

        Raises:
            ValueError: they are not; the message names the file.
        """
        chain, key = contents[:2]
        client_ca = contents[2] if self.client_ca else None
        client = _trusting(chain, self.chain)
        context = self._server()
        starts, expires = _dates(context, client, self.chain)
        if client_ca is not None:
            assert self.client_ca
            _check_authorities(client_ca, self.client_ca)
        return Certificate(chain, key, client_ca, context, starts, expires)

    def _server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])

        def passphrase() -> str:
            raise ValueError(
                f"{self.key} has a passphrase, and nobody is there to type it: give it without one"
            )

        try:
            context.load_cert_chain(self.chain, self.key, passphrase)
        except ssl.SSLError as error:
            raise ValueError(self._told(error)) from error
        return context

    def _told(self, error: ssl.SSLError) -> str:
        if error.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}:
            return f"{self.key} is not the key of the certificate in {self.chain}"
        if error.reason:
            return f"{self.chain} and {self.key} are of no use: {error.reason}"
        return f"{self.key} holds no key in PEM form, or half of one"


def _trusting(chain: bytes, path: Path) -> ssl.SSLContext:
    """A client that believes this certificate, whatever its dates and names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= _AS_IT_IS
    _load(context, chain, path)
    return context


def _load(context: ssl.SSLContext, pem: bytes, path: Path) -> None:
    try:
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            f"{path} holds no certificate in PEM form, or half of one: it begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from error


def _dates(server: ssl.SSLContext, client: ssl.SSLContext, path: Path) -> tuple[float, float]:
    """First and last second of a certificate that a client has seen and that is valid now."""
    try:
        seen, der = _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        raise ValueError(f"{path} is of no use to a server: {error.verify_message}") from error
    if _ED25519 in der:
        raise ValueError(
            f"{path} has an Ed25519 key, which gRPC's clients refuse: use P-256 or RSA"
        )
    starts = ssl.cert_time_to_seconds(str(seen["notBefore"]))
    expires = ssl.cert_time_to_seconds(str(seen["notAfter"]))
    if expires <= time.time():
        raise ValueError(f"{path} expired on {_date(expires)}: renew the certificate")
    if starts > time.time():
        raise ValueError(f"{path} is valid from {_date(starts)} only: see this machine's clock")
    return starts, expires


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[dict[str, object], bytes]:
    """Connect both in memory: what the client sees, as words and as DER."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(up, down, server_side=True)
    there = client.wrap_bio(down, up)
    for _ in range(2):  # hello, hello back with the certificate; finished, nothing more to say
        for side in (there, here):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return dict(there.getpeercert() or {}), there.getpeercert(binary_form=True) or b""


def _check_authorities(pem: bytes, path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, pem, path)
    ends = [ssl.cert_time_to_seconds(str(ca["notAfter"])) for ca in context.get_ca_certs()]
    if ends and max(ends) <= time.time():
        raise ValueError(f"{path} expired on {_date(max(ends))}: no client would be believed")


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
