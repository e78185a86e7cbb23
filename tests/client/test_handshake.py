"""What a client says when TLS fails: which side is wrong, and what to do."""

from __future__ import annotations

import ssl
from contextlib import contextmanager

import grpc
import pytest

import qwire
from qwire.handshake import why_no_tls, why_tls_is_missing
from qwire.target import Address
from qwire.unreachable import why_unreachable
from support.certificates import Authority
from support.fake_server import FakeServer
from support.web import web_server

# 1.60 says less of why; what lies between is not tried.
OLD_GRPC = tuple(map(int, grpc.__version__.split(".")[:2])) < (1, 85)
SAYS = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
OF_SSL = "SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority):
    """A server with TLS, by its only address: of two, gRPC may tell about the other."""
    with serving(authority.issue()) as target:
        yield target


@contextmanager
def serving(pair):
    with FakeServer(tls=(pair.key, pair.chain)) as server:
        yield f"127.0.0.1:{server.port}"


def refused(connect, target, **settings):
    """What the error says, unary and stream."""
    client = connect(target, **settings)
    with pytest.raises(qwire.ConnectionFailedError) as caught:
        client.embed(["a"])
    with pytest.raises(qwire.ConnectionFailedError) as of_stream:
        list(client.embed_stream(["a"]))
    sentence = str(caught.value).partition(" (failed")[0]
    assert sentence in str(of_stream.value)
    assert client.healthy() is False
    return sentence


def test_an_unknown_authority_is_told(connect, secure):
    told = refused(connect, f"grpcs://{secure}")
    assert "is not signed by an authority that this client knows: give ca_cert" in told


def test_another_name_is_told(connect, secure, authority):
    told = refused(connect, secure, ca_cert=authority.pem, server_name="other.example")
    assert "is for another name" in told
    assert "server_name" in told


def test_an_expired_certificate_is_told(connect, authority):
    with serving(authority.expired()) as target:
        told = refused(connect, target, ca_cert=authority.pem)
    if OLD_GRPC and "has expired, or is not signed" in told:
        return
    assert "has expired: it must be renewed there" in told


def test_plain_text_to_tls_is_told(connect, secure):
    told = refused(connect, secure)
    assert "as servers do that have TLS: use grpcs://" in told


def test_tls_to_plain_text_is_told(connect, server, authority):
    told = refused(connect, server.target, ca_cert=authority.pem)
    assert "because it has no TLS: leave out grpcs://, tls=True, ca_cert" in told


def test_tls_to_an_http_port_is_told(connect, authority):
    with web_server() as target:
        told = refused(connect, target, ca_cert=authority.pem)
    assert "because it has no TLS" in told


@pytest.mark.parametrize("half", ["ca_cert", "client_key"])
def test_half_a_file_is_told(connect, secure, authority, half):
    given = {"ca_cert": authority.pem, **authority.issue("me").client}
    given[half] = given[half][:-100]
    told = refused(connect, secure, **given)
    if OLD_GRPC and "(empty address list: )" in told:
        pytest.skip("this grpcio does not say why")
    assert "ca_cert, client_cert or client_key is of no use" in told


@pytest.mark.parametrize("name", ["ca_cert", "client_cert", "client_key"])
def test_a_file_that_is_not_there_is_told_by_name(connect, secure, authority, name):
    pair = authority.issue("me")
    given = {"ca_cert": authority.pem, **pair.client, name: "/nowhere.pem"}
    with pytest.raises(qwire.InvalidRequestError, match=f"^{name} cannot be read: .*/nowhere.pem"):
        connect(secure, **given).embed(["a"])


def test_a_key_in_place_of_a_certificate_is_told_and_not_shown(connect, secure, authority):
    pair = authority.issue("me")
    client = connect(secure, ca_cert=authority.pem, client_cert=pair.key, client_key=pair.chain)
    with pytest.raises(qwire.InvalidRequestError, match=r"client_\w+ holds no") as caught:
        client.embed(["a"])
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (f"Ssl handshake failed: {OF_SSL}CERTIFICATE_VERIFY_FAILED", "has expired, or is not sig"),
        (f"{OF_SSL}CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", "machine's clock"),
        (f"{OF_SSL}CERTIFICATE_VERIFY_FAILED: self signed certificate", "give ca_cert"),
        ("Peer name localhost is not in peer certificate", "is for another name"),
        ("Ssl handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", "it has no TLS"),
        ("Cannot check peer: missing selected ALPN property.", "looks like an HTTPS port"),
        ("Socket closed", "servers do so that want a client's certificate"),
        ("recvmsg:Connection reset by peer (104)", "want a client's certificate"),
        ("Handshake read failed (Socket closed)", "want a client's certificate"),
        (f"Tls handshake failed: {OF_SSL}SSLV3_ALERT_BAD_CERTIFICATE", "want a client's cert"),
        ("Ssl handshake failed: something new", "the TLS handshake with h:1 failed"),
        ("Connection refused", ""),
    ],
)
def test_words_of_every_grpc_are_understood(details, told):
    """Those of 1.60, the oldest, and of 1.85; all were seen but the last two."""
    found = why_no_tls(SAYS + details, "h:1")
    assert told in found
    assert bool(told) == bool(found)


def test_a_connection_that_stood_and_broke_is_no_matter_of_tls():
    for details in ("Socket closed", "recvmsg:Connection reset by peer"):
        assert why_no_tls(details, "h:1") == why_tls_is_missing(details, "h:1") == ""


@pytest.mark.parametrize("tls", [True, False])
def test_where_grpc_tells_of_another_address_this_machine_s_port_is_looked_at(secure, tls):
    told = why_unreachable("Connection refused", Address(secure, tls, loopback=True))
    assert ("the TLS handshake with" if tls else "use grpcs://") in told


def test_an_https_port_is_told(connect, authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.signer.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    with web_server(context) as target:
        told = refused(connect, target.replace("localhost", "127.0.0.1"), ca_cert=authority.pem)
    assert "it looks like an HTTPS port" in told
