"""Certificates of an authority made for the test, in files that can be renewed under a server."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
import time
import warnings
from typing import TYPE_CHECKING, Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    Key = RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

LONG_AGO = 100.0  # seconds; a file that changed just now may not be whole, and waits


BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
END = dt.datetime(2999, 1, 1, tzinfo=dt.timezone.utc)


class Authority:
    """Signs, and keeps its own certificate in a file."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.signer = trustme.CA()
        self.folder = folder
        self.pem = self.signer.cert_pem.bytes()
        self.file = folder / f"{name}.pem"
        write(self.file, self.pem)

    def issue(self, *names: str, common_name: str | None = None, **dates: Any) -> Pair:
        """A certificate for these names."""
        names = names or ("localhost", "127.0.0.1")
        leaf = self.signer.issue_cert(*names, common_name=common_name, **dates)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return Pair(chain, leaf.private_key_pem.bytes())

    def expired(self, *names: str) -> Pair:
        """One whose time is over."""
        end = BEGIN + dt.timedelta(days=30)
        return self.issue(*names, not_before=BEGIN, not_after=end)

    def sign(self, common_names: Sequence[str], alternatives: Sequence[x509.GeneralName]) -> Pair:
        """One with any names at all."""
        own = x509.load_pem_x509_certificate(self.pem)
        signer = serialization.load_pem_private_key(
            self.signer.private_key_pem.bytes(), password=None
        )
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(common_names, own.subject, key.public_key(), END)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return Pair(pem_of(builder.sign(signer, hashes.SHA256())), pem_of(key))

    def server(self, pair: Pair | None = None) -> Files:
        """Files for a server."""
        files = Files(self.folder / "server.pem", self.folder / "server.key")
        files.renew(pair or self.issue())
        return files


class Pair:
    """A certificate's chain and its key, PEM."""

    def __init__(self, chain: bytes, key: bytes) -> None:
        self.chain, self.key = chain, key

    @property
    def client(self) -> dict[str, bytes]:
        """What a client is given."""
        return {"client_cert": self.chain, "client_key": self.key}


class Files:
    """Two files."""

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert, self.key = cert, key

    @property
    def settings(self) -> dict[str, Any]:
        return {"tls_cert": self.cert, "tls_key": self.key}

    def renew(self, pair: Pair) -> None:
        """Put another pair in their place."""
        write(self.key, pair.key)
        write(self.cert, pair.chain)


def write(path: Path, content: bytes, age: float = LONG_AGO) -> None:
    """As those who renew do it: another file in its place."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    changed = time.time() - age
    os.utime(new, (changed, changed))
    new.replace(path)


def speaks(port: int, authority: Authority, version: str) -> bool:
    """Whether a handshake of exactly this version succeeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what it is about
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.load_verify_locations(cadata=authority.pem.decode())
    client.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port)) as plain:
        try:
            with client.wrap_socket(plain, server_hostname="localhost") as connection:
                return connection.version() == version.replace("_", ".")
        except (ssl.SSLError, ConnectionError):
            return False


def self_signed(
    key: Key,
    *extensions: x509.ExtensionType,
    end: dt.datetime = END,
) -> Pair:
    """A certificate that nobody vouches for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = _builder(["localhost"], name, key.public_key(), end)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    edwards = isinstance(key, ed25519.Ed25519PrivateKey)
    return Pair(pem_of(builder.sign(key, None if edwards else hashes.SHA256())), pem_of(key))


def pem_of(thing: x509.Certificate | Key, passphrase: bytes | None = None) -> bytes:
    """A certificate or a key as it stands in a file."""
    pem = serialization.Encoding.PEM
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(pem)
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase)
    return thing.private_bytes(pem, serialization.PrivateFormat.PKCS8, how)


def _builder(
    common_names: Sequence[str],
    issuer: x509.Name,
    key: Any,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(end)
    )
