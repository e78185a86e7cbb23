"""Files of certificates: what is taken, what is refused and in which words."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from qwire_server.security.certificate import CertificateFiles
from support.certificates import BEGIN, Authority, pem_of, self_signed, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwire_server.security.certificate import Certificate
    from support.certificates import Key

DAY = 86400.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Bench:
    def __init__(self, folder: Path, authority: Authority) -> None:
        self.cert, self.key, self.ca = folder / "c.pem", folder / "k.pem", folder / "ca.pem"
        pair = authority.issue()
        write(self.cert, pair.chain)
        write(self.key, pair.key)
        write(self.ca, authority.pem)

    def read(self) -> Certificate:
        files = CertificateFiles(self.cert, self.key, self.ca)
        return files.parse([path.read_bytes() for path in files.paths])


@pytest.fixture
def bench(tmp_path: Path, authority: Authority) -> Bench:
    return Bench(tmp_path, authority)


def test_a_good_pair_is_taken_with_its_dates(tmp_path: Path, authority: Authority, bench: Bench):
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    end = dt.datetime(2999, 12, 31, tzinfo=dt.timezone.utc)
    pair = authority.issue(not_before=begin, not_after=end)
    write(bench.cert, pair.chain)
    write(bench.key, pair.key)
    found = bench.read()
    assert (found.chain, found.key, found.client_ca) == (pair.chain, pair.key, authority.pem)
    assert (found.starts, found.expires) == (begin.timestamp(), end.timestamp())


def test_a_key_never_shows(bench: Bench):
    assert "PRIVATE" not in repr(bench.read())


@pytest.mark.parametrize("half", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nMIIB\n"])
@pytest.mark.parametrize("file", ["cert", "key", "ca"])
def test_what_is_half_written_is_refused_by_name(bench: Bench, file: str, half: bytes):
    path = getattr(bench, file)
    write(path, half)
    with pytest.raises(ValueError, match="half of one") as caught:
        bench.read()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("file", ["cert", "key", "ca"])
def test_what_ends_in_the_middle_is_refused_by_name(bench: Bench, file: str):
    path = getattr(bench, file)
    write(path, path.read_bytes()[:-60])
    with pytest.raises(ValueError, match="half of one") as caught:
        bench.read()
    assert str(path) in str(caught.value)


def test_a_key_of_another_certificate_is_refused(bench: Bench, authority: Authority):
    write(bench.key, authority.issue().key)
    with pytest.raises(ValueError, match=f"{bench.key} is not the key of .* in {bench.cert}"):
        bench.read()


def test_a_key_of_another_kind_is_refused(bench: Bench):
    write(bench.key, pem_of(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(ValueError, match=f"{bench.key} is not the key of .* in {bench.cert}"):
        bench.read()


def test_swapped_files_are_told_apart(bench: Bench):
    bench.cert, bench.key = bench.key, bench.cert
    with pytest.raises(ValueError, match=f"{bench.cert} holds no certificate"):
        bench.read()


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(bench: Bench):
    write(bench.key, pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    with pytest.raises(ValueError, match=f"{bench.key} has a passphrase"):
        bench.read()


def test_an_expired_certificate_is_refused_with_its_date(bench: Bench, authority: Authority):
    pair = authority.expired()
    write(bench.cert, pair.chain)
    write(bench.key, pair.key)
    with pytest.raises(ValueError, match=f"{bench.cert} expired on 2020-01-31 00:00 UTC: renew"):
        bench.read()


def test_a_certificate_of_the_future_is_refused_with_a_hint_at_the_clock(
    bench: Bench, authority: Authority
):
    begin = dt.datetime(2990, 1, 1, tzinfo=dt.timezone.utc)
    pair = authority.issue(not_before=begin)
    write(bench.cert, pair.chain)
    write(bench.key, pair.key)
    with pytest.raises(ValueError, match=r"valid from 2990-01-01 .*: see this machine's clock"):
        bench.read()


def test_an_expired_authority_is_refused(bench: Bench):
    key, its_end = ec.generate_private_key(ec.SECP256R1()), BEGIN + dt.timedelta(days=30)
    an_authority = x509.BasicConstraints(ca=True, path_length=None)
    write(bench.ca, self_signed(key, an_authority, end=its_end).chain)
    with pytest.raises(ValueError, match=f"{bench.ca} expired on 2020-01-31"):
        bench.read()


def test_an_expired_authority_beside_a_good_one_is_left_alone(bench: Bench):
    """A bundle keeps the old one while clients move to the new."""
    good = bench.ca.read_bytes()
    test_an_expired_authority_is_refused(bench)
    write(bench.ca, bench.ca.read_bytes() + good)
    assert bench.read().client_ca == bench.ca.read_bytes()


@pytest.mark.parametrize(
    ("key", "extensions", "told"),
    [
        (ed25519.Ed25519PrivateKey.generate, [], "Ed25519"),
        (partial(rsa.generate_private_key, 65537, 1024), [], "EE_KEY_TOO_SMALL"),
        (
            partial(ec.generate_private_key, ec.SECP256R1()),
            [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])],
            "of no use to a server: unsuitable certificate purpose",
        ),
    ],
)
def test_what_no_client_would_take_is_refused(
    bench: Bench, key: Callable[[], Key], extensions: list[x509.ExtensionType], told: str
):
    pair = self_signed(key(), *extensions)
    write(bench.key, pair.key)
    write(bench.cert, pair.chain)
    with pytest.raises(ValueError, match=told):
        bench.read()


@pytest.mark.parametrize(
    ("life", "left", "told"),
    [
        (365 * DAY, 15 * DAY, ""),
        (365 * DAY, 13 * DAY, "expires on"),
        (90 * DAY, 15 * DAY, ""),
        (1 * DAY, 0.3 * DAY, ""),  # machines renew it when a third is left
        (1 * DAY, 0.1 * DAY, "expires on"),
        (90 * DAY, -1.0, "expired on"),
    ],
)
def test_a_certificate_that_should_have_been_renewed_is_told_of(
    bench: Bench, life: float, left: float, told: str
):
    now = time.time()
    said = replace(bench.read(), starts=now + left - life, expires=now + left).overdue(now)
    assert told in said
    assert bool(told) == bool(said)
