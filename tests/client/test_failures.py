"""What goes wrong on the way, what is tried again, and what the error says."""

from __future__ import annotations

import socket
import threading
import time

import grpc
import pytest
import trustme

import qwire
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import UNAVAILABLE, FakeServer, Refusal, unit_vectors
from support.machine_speed import hang_limit
from support.patience import quickest
from support.web import web_server

STATUS_OF_CODE = {
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_DIMENSIONS": grpc.StatusCode.INVALID_ARGUMENT,
    "TEXT_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "TEXT_TOO_LONG": grpc.StatusCode.INVALID_ARGUMENT,
    "REQUEST_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "MODEL_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "FINGERPRINT_MISMATCH": grpc.StatusCode.FAILED_PRECONDITION,
    "NOT_SERVED": grpc.StatusCode.FAILED_PRECONDITION,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "QUOTA_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "DEADLINE_EXCEEDED": grpc.StatusCode.DEADLINE_EXCEEDED,
    "NOT_FINITE": grpc.StatusCode.INTERNAL,
    "MODEL_FAILED": grpc.StatusCode.INTERNAL,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "INTERNAL": grpc.StatusCode.INTERNAL,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "PERMISSION_DENIED": grpc.StatusCode.PERMISSION_DENIED,
}
MAY_HEAL = {"OVERLOADED", "QUOTA_EXCEEDED", "UNAVAILABLE"}
ERROR_OF_CODE = {
    "INVALID_REQUEST": qwire.InvalidRequestError,
    "INVALID_DIMENSIONS": qwire.InvalidDimensionsError,
    "TEXT_TOO_LARGE": qwire.TextTooLargeError,
    "TEXT_TOO_LONG": qwire.TextTooLongError,
    "REQUEST_TOO_LARGE": qwire.RequestTooLargeError,
    "MODEL_NOT_FOUND": qwire.ModelNotFoundError,
    "FINGERPRINT_MISMATCH": qwire.FingerprintMismatchError,
    "NOT_SERVED": qwire.NotServedError,
    "OVERLOADED": qwire.OverloadedError,
    "QUOTA_EXCEEDED": qwire.QuotaExceededError,
    "DEADLINE_EXCEEDED": qwire.DeadlineExceededError,
    "NOT_FINITE": qwire.ModelFailedError,
    "MODEL_FAILED": qwire.ModelFailedError,
    "UNAVAILABLE": qwire.ConnectionFailedError,
    "INTERNAL": qwire.ServerError,
    "UNAUTHENTICATED": qwire.UnauthenticatedError,
    "PERMISSION_DENIED": qwire.PermissionDeniedError,
}


def test_every_code_of_the_contract_has_its_error():
    assert set(ERROR_OF_CODE) == set(pb.ErrorCode.keys()) - {"ERROR_CODE_UNSPECIFIED"}


@pytest.mark.parametrize("code", ERROR_OF_CODE)
def test_a_code_becomes_its_error_with_everything_on_it(server, connect, code):
    client = connect(server.target, max_attempts=1)
    server.refusals["Embed"].append(
        Refusal(STATUS_OF_CODE[code], code, "because", index=0, retry_after_ms=1500)
    )
    with pytest.raises(qwire.QwireError, match="because") as caught:
        client.embed(["a"])
    error = caught.value
    assert type(error) is ERROR_OF_CODE[code]
    assert (error.code, error.index, error.retry_after) == (code, 0, 1.5)
    assert error.target == server.target
    assert error.target in str(error)
    assert error.request_id == "from-server"
    assert isinstance(error.__cause__, grpc.RpcError)


def test_trailers_in_the_message_do_where_real_ones_are_dropped(server, connect):
    """As Ray drops those of a stream that comes through its own proxy."""
    client = connect(server.target, max_attempts=1)
    told = "full [qwire-error-code=OVERLOADED grpc-retry-pushback-ms=1500]"
    server.refusals["Embed"].append(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, message=told))
    with pytest.raises(qwire.OverloadedError, match=r"^full \(") as caught:
        client.embed(["a"])
    assert (caught.value.code, caught.value.retry_after) == ("OVERLOADED", 1.5)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("UNAUTHENTICATED", qwire.UnauthenticatedError),
        ("PERMISSION_DENIED", qwire.PermissionDeniedError),
        ("INVALID_ARGUMENT", qwire.InvalidRequestError),
        ("UNIMPLEMENTED", qwire.ServerError),
        ("INTERNAL", qwire.ServerError),
        ("UNKNOWN", qwire.ServerError),
        ("RESOURCE_EXHAUSTED", qwire.OverloadedError),
    ],
)
def test_a_status_without_a_code_is_mapped_and_not_retried(server, client, status, error):
    server.refusals["Embed"].append(Refusal(grpc.StatusCode[status]))
    with pytest.raises(error) as caught:
        client.embed(["a"])
    assert caught.value.code == status
    assert caught.value.request_id == server.seen[0].metadata["x-request-id"]
    assert server.count("Embed") == 1


@pytest.mark.parametrize(
    "refusal",
    [
        UNAVAILABLE,
        Refusal(grpc.StatusCode.UNAVAILABLE),
        Refusal(grpc.StatusCode.INTERNAL, message="Received RST_STREAM with error code 2"),
        Refusal(grpc.StatusCode.INTERNAL, message="Internal error from Core"),
        Refusal(grpc.StatusCode.UNKNOWN, message="Stream removed"),
    ],
)
def test_what_may_heal_is_tried_again_under_one_request_id(server, client, refusal):
    server.refusals["Embed"].extend([refusal] * 2)
    assert client.embed(["a"]).shape == (1, 16)
    assert server.count("Embed") == 3
    assert len({seen.metadata["x-request-id"] for seen in server.seen}) == 1


@pytest.mark.parametrize("code", ["OVERLOADED", "QUOTA_EXCEEDED"])
def test_with_a_deadline_a_refusal_is_tried_again_under_one_request_id(server, client, code):
    server.refusals["Embed"].extend([Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, code)] * 2)
    assert client.embed(["a"], timeout=10).shape == (1, 16)
    assert server.count("Embed") == 3
    assert len({seen.metadata["x-request-id"] for seen in server.seen}) == 1


@pytest.mark.parametrize("code", sorted(set(STATUS_OF_CODE) - MAY_HEAL))
def test_what_cannot_heal_is_not_tried_again(server, client, code):
    server.refusals["Embed"].append(Refusal(STATUS_OF_CODE[code], code))
    with pytest.raises(ERROR_OF_CODE[code]):
        client.embed(["a"], timeout=10)
    assert server.count("Embed") == 1


def test_describe_and_count_tokens_are_tried_again(server, client):
    server.refusals["Describe"].append(UNAVAILABLE)
    server.refusals["CountTokens"].append(UNAVAILABLE)
    assert client.describe().model
    assert client.count_tokens(["abc"]).tokens.tolist() == [3]


@pytest.mark.parametrize("pushback", [True, False])
def test_the_servers_hint_is_waited_for(server, client, pushback):
    server.refusals["Embed"].append(
        Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            retry_after_ms=300,
            pushback=pushback,
        )
    )
    start = time.monotonic()
    client.embed(["a"], timeout=10)
    assert time.monotonic() - start >= 0.3
    assert server.count("Embed") == 2


def test_a_hint_beyond_the_deadline_is_told_at_once(server, connect):
    client = connect(server.target, timeout=10)
    server.refusals["Embed"].append(
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after_ms=60_000)
    )
    start = time.monotonic()
    with pytest.raises(qwire.OverloadedError) as caught:
        client.embed(["a"], timeout=10)
    assert caught.value.retry_after == 60
    assert time.monotonic() - start < 5


def test_a_server_that_was_reached_is_tried_until_the_deadline(server, connect):
    server.refusals["Embed"].extend([UNAVAILABLE] * 10_000)
    for timeout in (1, 4, 10):  # where the machine stands still, the deadline meets a try itself
        server.seen.clear()
        client = connect(server.target, max_attempts=2, timeout=timeout)
        start = time.monotonic()
        with pytest.raises(qwire.QwireError) as caught:
            client.embed(["a"])
        took = time.monotonic() - start
        if type(caught.value) is qwire.ConnectionFailedError and took < timeout + 2:
            break
    assert type(caught.value) is qwire.ConnectionFailedError
    assert "the model is loading" in str(caught.value)
    assert took < timeout + 2
    assert server.count("Embed") > 2


def test_one_attempt_is_one_attempt(server, connect):
    client = connect(server.target, max_attempts=1)
    client.embed(["a"])
    server.refusals["Embed"].append(UNAVAILABLE)
    with pytest.raises(qwire.ConnectionFailedError):
        client.embed(["a"])
    assert server.count("Embed") == 2


def test_a_call_rides_over_a_restart(connect):
    with FakeServer() as first:
        port = first.port
        client = connect(first.target, timeout=hang_limit(15))
        client.embed(["a"])
    restarted = FakeServer(port)
    timer = threading.Timer(0.3, restarted.__enter__)
    timer.start()
    try:
        assert client.embed(["b"]).shape == (1, 16)
    finally:
        timer.join()
        restarted.__exit__()


def test_parts_are_tried_again_one_by_one(server, client):
    server.refusals["Embed"].extend([UNAVAILABLE] * 3)
    texts = [str(number) for number in range(300)]
    assert (client.embed(texts).vectors == unit_vectors(texts, 16)).all()
    assert server.count("Embed") == 5 + 3


def test_a_late_answer_is_a_deadline_error(server, client):
    gate = server.hold("slow")
    with pytest.raises(qwire.DeadlineExceededError, match=r"within 0\.3 s") as caught:
        client.embed(["slow"], timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert gate.cancelled.wait(hang_limit(5))


def test_a_dead_port_fails_within_a_second_with_a_sentence(connect):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"localhost:{free.getsockname()[1]}"

    def ask():
        client = connect(target)
        with pytest.raises(qwire.ConnectionFailedError) as caught:
            client.embed(["a"])
        return client, caught

    assert quickest(ask, enough=1.5) < 1.5
    client, caught = ask()
    assert f"nothing answers at {target}: start one with `qwire serve`" in str(caught.value)
    assert "QWIRE_TARGET" in str(caught.value)
    assert isinstance(caught.value, ConnectionError)
    assert client.healthy() is False


def test_an_http_port_is_recognised(connect):
    expected = pytest.raises(qwire.ConnectionFailedError, match=r"looks like an HTTP port.*50051")
    with web_server() as target, expected:
        connect(target).embed(["a"])


class Private:
    """A certificate for "qwire-test" that no machine trusts, made anew."""

    def __init__(self):
        authority = trustme.CA()
        issued = authority.issue_cert("qwire-test")
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        self.server = (issued.private_key_pem.bytes(), chain)
        self.ca_cert = authority.cert_pem.bytes()


@pytest.fixture(scope="module")
def private():
    return Private()


@pytest.mark.parametrize("as_path", [True, False])
def test_tls_with_a_private_certificate(connect, private, tmp_path, as_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(private.ca_cert)
    with FakeServer(tls=private.server) as server:
        ca_cert = str(path) if as_path else private.ca_cert
        client = connect(f"grpcs://{server.target}", ca_cert=ca_cert, server_name="qwire-test")
        assert client.embed(["a"]).shape == (1, 16)


def test_a_host_that_does_not_exist_is_explained(connect):
    client = connect("no-such-host.invalid")
    with pytest.raises(qwire.ConnectionFailedError, match="cannot be found"):
        client.embed(["a"])


def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(server, connect, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert connect(server.target).embed(["a"]).shape == (1, 16)


def test_a_proxy_is_named_when_the_call_through_it_fails(connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    client = connect("qwire.example:50051")
    with pytest.raises(qwire.ConnectionFailedError, match=r"\$http_proxy"):
        client.embed(["a"])


def test_a_reply_over_the_clients_limit_is_no_overload(server, connect):
    client = connect(server.target, channel_options=[("grpc.max_receive_message_length", 1000)])
    with pytest.raises(qwire.RequestTooLargeError, match="smaller batch_size"):
        client.embed(["a"] * 64)
    assert server.count("Embed") == 1


def test_a_trailer_that_cannot_be_read_is_left_out(server, client):
    refusal = Refusal(grpc.StatusCode.INTERNAL, "INTERNAL")
    refusal.trailers = lambda: (
        ("qwire-error-code", "INTERNAL"),
        ("grpc-status-details-bin", b"\xff\xff"),
    )
    server.refusals["Embed"].append(refusal)
    with pytest.raises(qwire.ServerError) as caught:
        client.embed(["a"])
    assert caught.value.index is None


def test_a_closed_client_says_so(client):
    client.embed(["a"])
    client.close()
    client.close()
    for call in (client.embed, client.embed_documents, client.count_tokens):
        with pytest.raises(qwire.ClosedError, match="closed"):
            call(["a"])
    with pytest.raises(qwire.ClosedError):
        client.healthy()
    with pytest.raises(qwire.ClosedError):
        list(client.embed_stream(["a"]))
    assert "closed" in repr(client)


def test_calls_that_begin_while_another_thread_closes_their_client_are_told_so(server):
    """Some calls begin between the last look and the end of the channel."""
    told = []

    def ask(client):
        try:
            while True:
                client.embed(["a"])
                next(client.embed_stream(["a"]))
        except Exception as error:  # noqa: BLE001  which it is, is the question
            told.append(type(error))

    for _ in range(40):
        client = qwire.Client(server.target)
        asking = [threading.Thread(target=ask, args=[client]) for _ in range(4)]
        for thread in asking:
            thread.start()
        client.embed(["b"])
        client.close()
        for thread in asking:
            thread.join()
    assert told == [qwire.ClosedError] * 160


def test_a_server_that_went_away_is_unhealthy_at_once(connect):
    with FakeServer() as server:
        client = connect(server.target)
        assert client.healthy() is True
    assert quickest(client.healthy, enough=2) < 2
    assert client.healthy() is False
