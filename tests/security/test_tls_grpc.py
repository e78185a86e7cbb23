"""TLS on the gRPC port of a running server: renewal, versions, who may come in and as whom."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
import warnings
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire_server.security.certificate import CertificateFiles
from qwire_server.security.tls import Tls
from support.certificates import Authority, Pair, speaks, write
from support.machine_speed import hang_limit
from support.serving import Running, fake_serving, rows_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

REQUEST = pb.EmbedRequest(texts=["a"])
ME = "spiffe://example.org/indexer"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture
async def tls(authority: Authority) -> AsyncIterator[Running]:
    """A server with TLS; clients need no certificate."""
    async with fake_serving(authority.server().settings) as running:
        yield running


@pytest_asyncio.fixture
async def mutual(authority: Authority) -> AsyncIterator[Running]:
    """A server that wants certificates of its clients."""
    settings = {**authority.server().settings, "tls_client_ca": authority.file}
    async with fake_serving(settings) as running:
        yield running


def connect(running: Running, authority: Authority, mine: Pair | None = None) -> grpc.aio.Channel:
    """A new connection, that is: a new handshake."""
    credentials = grpc.ssl_channel_credentials(
        authority.pem, mine.key if mine else None, mine.chain if mine else None
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    address = f"localhost:{running.server.port}"
    return grpc.aio.secure_channel(address, credentials, options)


async def answers(running: Running, authority: Authority, mine: Pair | None = None) -> bool:
    """Whether a new connection gets a vector; False if its handshake fails."""
    async with connect(running, authority, mine) as channel:
        try:
            reply = await pb_grpc.EmbeddingStub(channel).Embed(REQUEST, timeout=hang_limit(15))
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017
            return False
        return rows_of(reply.vectors).shape == (1, 8)


async def reloaded(running: Running, times: int = 1) -> str:
    """Wait for the next look at the files; what was wrong with them."""
    while len(running.observer.reloads) < times:
        running.server.certificate_expires  # noqa: B018  a look
        await asyncio.sleep(0.05)
    assert all(record.what == "certificate" for record in running.observer.reloads)
    return running.observer.reloads[times - 1].wrong


class Stream:
    """One open stream; each `ask` is one text there and back."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = pb_grpc.EmbeddingStub(channel).EmbedStream()
        self.asked = 0

    async def ask(self) -> None:
        self.asked += 1
        await self.call.write(pb.EmbedStreamRequest(ids=[self.asked], texts=["a"]))
        reply = await self.call.read()
        assert list(reply.ids) == [self.asked]

    async def end(self) -> None:
        await self.call.done_writing()
        assert await self.call.read() is grpc.aio.EOF
        assert await self.call.code() == grpc.StatusCode.OK


async def test_a_renewed_certificate_is_taken_up_and_open_streams_go_on(
    tls: Running, authority: Authority, tmp_path: Path
):
    """The same stream on the same connection before and after; a new one sees the new authority."""
    async with connect(tls, authority) as channel:
        stream = Stream(channel)
        await stream.ask()
        other = Authority(tmp_path, "other")
        authority.server(other.issue())
        assert await reloaded(tls) == ""
        assert await answers(tls, other)
        assert not await answers(tls, authority)
        await stream.ask()
        await stream.end()
    assert [r.code for r in tls.observer.requests if r.method == "EmbedStream"] == ["OK"]


async def test_a_handshake_alone_takes_up_what_is_new(
    tls: Running, authority: Authority, tmp_path: Path
):
    """Nobody has to look at the files but who connects."""
    other = Authority(tmp_path, "other")
    authority.server(other.issue())
    while not await answers(tls, other):
        await asyncio.sleep(0.1)
    assert [record.wrong for record in tls.observer.reloads] == [""]


async def test_a_server_whose_certificate_should_have_been_renewed_says_so(
    authority: Authority, caplog: pytest.LogCaptureFixture
):
    """Though nobody connects; and it knows when that certificate ends."""
    end = dt.datetime.now(dt.timezone.utc).replace(microsecond=0) + dt.timedelta(hours=1)
    late = authority.issue(not_before=end - dt.timedelta(days=30), not_after=end)
    async with fake_serving(authority.server(late).settings) as running:
        await until(lambda: any("renew it" in message for message in caplog.messages))
        assert running.server.certificate_expires == end.timestamp()
        assert running.observer.reloads == []
    assert f"expires on {end:%Y-%m-%d %H:%M} UTC" in caplog.text


async def test_a_server_without_tls_has_no_certificate_that_ends():
    async with fake_serving() as running:
        assert running.server.certificate_expires is None


@pytest.mark.parametrize("wrong", ["half of one", "No such file", "is not the key", "expired"])
def test_files_of_no_use_are_told_once_and_the_old_ones_stay(authority: Authority, wrong: str):
    files, told = authority.server(), list[str]()
    tls = Tls(CertificateFiles(files.cert, files.key), told.append, seconds=0)
    old = tls.current()
    if wrong == "half of one":
        write(files.cert, files.cert.read_bytes()[:300])
    elif wrong == "No such file":
        files.key.unlink()
    elif wrong == "is not the key":
        write(files.key, authority.issue().key)
    else:
        files.renew(authority.expired())
    assert [tls.current() for _ in range(3)] == [old] * 3
    assert len(told) == 1
    assert wrong in told[0]
    files.renew(authority.issue())
    assert tls.current() != old
    assert told[1:] == [""]


async def test_a_server_whose_certificate_was_half_written_goes_on_with_the_old_one(
    tls: Running, authority: Authority
):
    files = authority.server()
    write(files.cert, files.cert.read_bytes()[:300])
    assert str(files.cert) in await reloaded(tls)
    assert await answers(tls, authority)


async def test_clients_authorities_are_taken_up_and_those_who_are_in_stay_in(
    mutual: Running, authority: Authority, tmp_path: Path
):
    other = Authority(tmp_path, "other")
    mine, yours = authority.issue("me"), other.issue("you")
    async with connect(mutual, authority, mine) as channel:
        stream = Stream(channel)
        await stream.ask()
        assert not await answers(mutual, authority, yours)
        write(authority.file, other.pem)
        assert await reloaded(mutual) == ""
        assert await answers(mutual, authority, yours)
        assert not await answers(mutual, authority, mine)
        await stream.ask()
        await stream.end()


@pytest.mark.parametrize("who", ["nobody", "stranger", "expired"])
async def test_who_has_no_certificate_that_is_believed_stays_out(
    mutual: Running, authority: Authority, tmp_path: Path, who: str
):
    certificates = {
        "nobody": None,
        "stranger": Authority(tmp_path, "other").issue("me"),
        "expired": authority.expired("me"),
    }
    assert not await answers(mutual, authority, certificates[who])
    assert await answers(mutual, authority, authority.issue("me"))
    assert len(mutual.observer.requests) == 1


URI, DNS = x509.UniformResourceIdentifier, x509.DNSName


@pytest.mark.parametrize(
    ("common_names", "alternatives", "client"),
    [
        (["me"], [], "cert:me"),
        (["me"], [DNS("a.example"), DNS("b.example")], "cert:a.example"),
        (["me"], [DNS("a.example"), URI(ME)], f"cert:{ME}"),
        (["me"], [x509.RFC822Name("me@example.org")], "cert:me"),
        (["J\u00fcrgen"], [], "cert:J\u00fcrgen"),
        (["first", "second"], [], "cert:first"),
        ([], [], "ipv4:127.0.0.1"),
        (["admin\0.example.org"], [], "ipv4:127.0.0.1"),  # gRPC tells "admin"
        (["me"], [DNS("admin\0.example.org")], "ipv4:127.0.0.1"),
        (["me"], [URI(ME), DNS("x\0y")], "ipv4:127.0.0.1"),
        (["n" * 64], [DNS("d" * 300)], "cert:" + "d" * 300),
    ],
)
async def test_a_client_is_who_its_certificate_says(
    mutual: Running,
    authority: Authority,
    common_names: list[str],
    alternatives: Sequence[x509.GeneralName],
    client: str,
):
    mine = authority.sign(common_names, alternatives)
    assert mutual.runner
    mutual.runner.gate.clear()
    async with connect(mutual, authority, mine) as channel:
        stub = pb_grpc.EmbeddingStub(channel)
        held = asyncio.ensure_future(stub.Embed(REQUEST))
        await asyncio.to_thread(mutual.runner.entered.acquire)
        stats = await stub.Stats(pb.StatsRequest())
        mutual.runner.gate.set()
        await held
    assert [of.client for of in stats.clients] == [client]
    assert {record.client for record in mutual.observer.requests} == {client}


async def test_one_certificate_is_one_client_on_every_connection(
    mutual: Running, authority: Authority
):
    for _ in range(2):
        assert await answers(mutual, authority, authority.issue("me"))
    assert len({record.client for record in mutual.observer.requests}) == 1


@pytest_asyncio.fixture
async def picky(authority: Authority) -> AsyncIterator[Running]:
    """A server that lets in two names."""
    settings = {
        **authority.server().settings,
        "tls_client_ca": authority.file,
        "tls_allowed_names": f"second.example, {ME}",
    }
    async with fake_serving(settings) as running:
        yield running


@pytest.mark.parametrize(
    "mine", [[DNS("second.example")], [URI(ME)], [DNS("first.example"), DNS("second.example")]]
)
async def test_a_name_on_the_list_may_do_everything(
    picky: Running, authority: Authority, mine: list[x509.GeneralName]
):
    """One of the certificate's names is enough."""
    async with connect(picky, authority, authority.sign(["x"], mine)) as channel:
        stub = pb_grpc.EmbeddingStub(channel)
        assert rows_of((await stub.Embed(REQUEST)).vectors).shape == (1, 8)
        assert (await stub.CountTokens(pb.CountTokensRequest(texts=["a"]))).tokens
        stream = Stream(channel)
        await stream.ask()
        await stream.end()
        assert "qwire.v1.Embedding" in await reflected(channel)


async def test_errors_of_methods_reach_a_name_on_the_list(picky: Running, authority: Authority):
    async with connect(picky, authority, authority.issue("second.example")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.EmbeddingStub(channel).Embed(pb.EmbedRequest(texts=["a" * 5000]))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["qwire-error-code"] == "TEXT_TOO_LARGE"


async def reflected(channel: grpc.aio.Channel) -> str:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="*")
    return str([reply async for reply in stub.ServerReflectionInfo(iter([asked]))])


@pytest.mark.parametrize("path", ["Embed", "EmbedStream", "Describe"])
async def test_another_name_is_refused_before_anything_is_read(
    picky: Running, authority: Authority, path: str
):
    """The refusal comes though the caller has sent nothing yet."""
    mine = authority.sign(["second.example"], [DNS("x.example")])
    async with connect(picky, authority, mine) as channel:
        call = channel.stream_stream(f"/qwire.v1.Embedding/{path}")()
        assert await call.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "x.example, which --tls-allowed-names does not list" in await call.details()
        trailers = dict(await call.trailing_metadata())
        await until(lambda: bool(picky.observer.requests))  # written once the status is sent
    (record,) = picky.observer.requests
    assert (record.method, record.client) == (path, "cert:x.example")
    assert record.code == "PERMISSION_DENIED"
    assert record.request_id == trailers["x-request-id"]


async def test_a_name_cut_at_a_zero_byte_is_refused(picky: Running, authority: Authority):
    forged = authority.sign(["x"], [DNS("second.example\0.evil.example")])
    async with connect(picky, authority, forged) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="has no name"):
            await pb_grpc.EmbeddingStub(channel).Embed(REQUEST)


async def test_another_name_sees_no_services_and_may_ask_for_health(
    picky: Running, authority: Authority
):
    async with connect(picky, authority, authority.issue("x.example")) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            await reflected(channel)
        health = health_pb2_grpc.HealthStub(channel)
        reply = await health.Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_a_call_without_a_request_is_told_so(picky: Running, authority: Authority):
    async with connect(picky, authority, authority.issue("second.example")) as channel:
        call = channel.stream_stream("/qwire.v1.Embedding/Embed")()
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("version", "taken"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
async def test_no_version_below_tls_1_2_is_spoken(
    tls: Running, authority: Authority, version: str, taken: bool
):
    assert await asyncio.to_thread(speaks, tls.server.port, authority, version) == taken


def test_this_machine_can_still_speak_tls_1_1(authority: Authority):
    """Or the tests above would prove nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.minimum_version = ssl.TLSVersion.TLSv1
    server.set_ciphers("ALL:@SECLEVEL=0")
    authority.signer.issue_cert("localhost").configure_cert(server)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            plain, _ = listener.accept()
            server.wrap_socket(plain, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert speaks(listener.getsockname()[1], authority, "TLSv1_1")
        thread.join()


async def test_a_plain_client_gets_nothing(tls: Running):
    """The channel of the fixture has no TLS."""
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await tls.stub.Embed(REQUEST)
    assert tls.observer.requests == []
