"""Addresses, keys and the rest of what a client is told."""

from __future__ import annotations

import pytest

import qwire
from qwire.target import Address, parse_target


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("localhost:1234", Address("localhost:1234", tls=False, loopback=True)),
        ("localhost", Address("localhost:50051", tls=False, loopback=True)),
        ("LOCALHOST:1", Address("LOCALHOST:1", tls=False, loopback=True)),
        ("127.0.0.9", Address("127.0.0.9:50051", tls=False, loopback=True)),
        ("[::1]:5", Address("[::1]:5", tls=False, loopback=True)),
        ("::1", Address("[::1]:50051", tls=False, loopback=True)),
        ("10.0.0.1", Address("10.0.0.1:50051", tls=False, loopback=False)),
        ("gpu.example", Address("gpu.example:50051", tls=False, loopback=False)),
        ("grpc://gpu.example:7", Address("gpu.example:7", tls=False, loopback=False)),
        ("grpc://localhost/", Address("localhost:50051", tls=False, loopback=True)),
        ("grpcs://gpu.example", Address("gpu.example:50051", tls=True, loopback=False)),
        ("GRPCS://localhost:9", Address("localhost:9", tls=True, loopback=True)),
        ("dns:///gpu:7", Address("dns:///gpu:7", tls=False, loopback=False, several=True)),
        ("dns:///localhost:7",
         Address("dns:///localhost:7", tls=False, loopback=True, several=True)),
        ("gpu1, gpu2:7", Address("gpu1:50051,gpu2:7", tls=False, loopback=False, several=True)),
        ("localhost,::1", Address("localhost:50051,[::1]:50051", False, True, True)),
        ("grpcs://a:1,b", Address("a:1,b:50051", tls=True, loopback=False, several=True)),
        ("unix:/run/qwire.sock", Address("unix:/run/qwire.sock", tls=False, loopback=True)),
        ("ipv4:127.0.0.1:1,127.0.0.2:2",
         Address("ipv4:127.0.0.1:1,127.0.0.2:2", tls=False, loopback=True, several=True)),
        ("ipv4:127.0.0.1:1,10.0.0.2:2",
         Address("ipv4:127.0.0.1:1,10.0.0.2:2", tls=False, loopback=False, several=True)),
        ("ipv4:10.0.0.2:2", Address("ipv4:10.0.0.2:2", tls=False, loopback=False)),
    ],
)  # fmt: skip
def test_an_address_is_read_as_people_write_it(target, address):
    assert parse_target(target) == address


@pytest.mark.parametrize(
    ("target", "form"),
    [
        ("http://localhost:8000", "'localhost:50051'"),
        ("http://localhost:8000/v1", "'localhost:50051'"),
        ("https://gpu.example", "'grpcs://gpu.example:50051'"),
        ("HTTP://[::1]:8000", "'[::1]:50051'"),
    ],
)
def test_an_http_address_is_refused_and_the_grpc_one_named(target, form):
    with pytest.raises(qwire.InvalidRequestError, match="speaks gRPC") as caught:
        qwire.Client(target)
    assert form in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "target", [":50051", "host:port", "host:0", "a/b", "ftp://x", "u@h:1", "a,,b", 7]
)
def test_what_is_no_address_is_refused(target):
    with pytest.raises(qwire.InvalidRequestError, match="cannot read the target"):
        parse_target(target)


def test_the_environment_names_the_target_and_the_key(server, connect, monkeypatch):
    monkeypatch.setenv("QWIRE_TARGET", server.target)
    monkeypatch.setenv("QWIRE_API_KEY", "from-env")
    connect().embed(["a"])
    assert server.seen[0].metadata["authorization"] == "Bearer from-env"


def test_base_url_is_another_word_for_target(server, connect):
    assert connect(base_url=server.target).embed(["a"]).shape == (1, 16)
    with pytest.raises(qwire.InvalidRequestError, match="only one"):
        connect(server.target, base_url=server.target)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": None},
        {"max_attempts": 0},
        {"max_concurrency": 0},
        {"batch_size": 0},
        {"client_cert": b"pem"},
        {"target": "grpcs://x", "tls": False},
        {"api_key": "line\nbreak"},
        {"api_key": "schlüssel"},
        {"metadata": {"bad name": "x"}},
        {"metadata": {"name": "new\nline"}},
    ],
)
def test_a_wrong_setting_is_refused_at_once(wrong):
    with pytest.raises(qwire.InvalidRequestError):
        qwire.Client(**{"target": "localhost", **wrong})


def test_a_key_is_never_repeated_in_an_error(server, connect):
    client = connect(server.target, api_key=lambda: "secret\n")
    with pytest.raises(qwire.InvalidRequestError) as caught:
        client.embed(["a"])
    assert "secret" not in str(caught.value)


def test_a_key_that_leaves_the_machine_in_the_clear_is_warned_about():
    with pytest.warns(UserWarning, match="unencrypted") as caught:
        qwire.Client("gpu.example", api_key="k")
    assert caught[0].filename == __file__
    assert len(caught) == 1


@pytest.mark.parametrize("target", ["localhost", "grpcs://gpu.example", "unix:/x"])
def test_a_key_that_stays_or_is_encrypted_is_not(target):
    qwire.Client(target, api_key="k")


def test_certificates_mean_tls():
    assert qwire.Client("gpu.example", ca_cert=b"pem", api_key="k")._state.config.address.tls
