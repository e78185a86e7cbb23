"""What a gRPC connection may hold, and for how long, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

import qwire
from qwire.v1 import embedding_pb2 as pb
from qwire_server import descriptors
from qwire_server.api.rpc import options
from qwire_server.api.rpc.rules import lifetime
from qwire_server.api.served import MAX_INSTRUCTION_BYTES, MAX_MESSAGE_BYTES
from support.certificates import Authority
from support.machine_speed import hang_limit
from support.patience import with_time
from support.proxy import Proxy
from support.runners import DIM
from support.serving import Running, fake_serving, until
from support.sockets import connection, until_closed

EMBED = "/qwire.v1.Embedding/Embed"


def code_of(error: grpc.RpcError) -> str:
    return dict(error.trailing_metadata() or ()).get("qwire-error-code", "")


async def test_a_compressed_bomb_is_refused():
    """32 MiB of one letter are 32 KiB on the wire; the limit is that of what they would become."""
    async with fake_serving() as fake:
        options = [("grpc.default_compression_algorithm", 2)]  # gzip
        options += [("grpc.max_send_message_length", -1)]
        target = f"127.0.0.1:{fake.server.port}"
        bomb = pb.EmbedRequest(texts=["a" * (2 * MAX_MESSAGE_BYTES)])
        assert len(gzip.compress(bomb.SerializeToString(), 1)) < MAX_MESSAGE_BYTES // 50
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            call = channel.unary_unary(EMBED, pb.EmbedRequest.SerializeToString)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(bomb)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(caught.value) == "REQUEST_TOO_LARGE"
        assert (await fake.embed("after")).shape == (1, DIM)


async def test_a_small_request_may_be_compressed(fake: Running):
    call = fake.stub.Embed(pb.EmbedRequest(texts=["a"]), compression=grpc.Compression.Gzip)
    assert (await call).vectors.rows == 1


async def test_an_instruction_counts_for_each_text_and_is_bounded(fake: Running):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fake.embed("a", instruction="i" * (MAX_INSTRUCTION_BYTES + 1))
    assert code_of(caught.value) == "INVALID_REQUEST"
    assert "say the task in a sentence" in caught.value.details()


async def test_more_connections_than_allowed_are_closed_and_the_open_ones_go_on():
    async with fake_serving({"max_connections": 2}) as fake:
        assert (await fake.embed("first")).shape == (1, DIM)
        async with connection(fake.server.port), connection(fake.server.port) as (reader, _):
            assert await until_closed(reader) == b""
            assert (await fake.embed("still")).shape == (1, DIM)


class TestHandshake:
    """Who never says what it wants is cut; a second does here what ten do in production.

    Nothing else is short, and nothing else cuts before TLS is agreed on: gRPC's own limit is two
    minutes.
    """

    @pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
    async def test_a_connection_that_agrees_on_no_tls_is_closed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: bytes
    ):
        """Silent, or in the middle of its first message."""
        monkeypatch.setattr(options, "_HANDSHAKE", 1000)
        settings = Authority(tmp_path).server().settings
        async with fake_serving(settings) as fake, connection(fake.server.port) as (reader, writer):
            writer.write(begun)
            assert await until_closed(reader) == b""

    @pytest.mark.parametrize("begun", [b"", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
    async def test_a_connection_that_never_says_its_settings_is_told_and_closed(
        self, monkeypatch: pytest.MonkeyPatch, begun: bytes
    ):
        """Without the limit pings would find out, seconds later, and say something else."""
        monkeypatch.setattr(options, "_HANDSHAKE", 1000)
        async with fake_serving() as fake, connection(fake.server.port) as (reader, writer):
            writer.write(begun)
            assert b"settings before handshake timeout" in await until_closed(reader)


@pytest.mark.usefixtures("short_times")
class TestShortTimes:
    """What minutes do in production, a second does here."""

    async def test_an_idle_connection_is_closed_and_a_quiet_stream_is_spared(self):
        async with fake_serving() as fake:
            await fake.embed("now the connection is open, and idle")
            idle = await _states(fake.channel, grpc.ChannelConnectivity.IDLE)
            assert idle
            stream = fake.stub.EmbedStream()
            await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
            assert list((await stream.read()).ids) == [1]
            await asyncio.sleep(2.5)  # longer than idle connections live
            await stream.write(pb.EmbedStreamRequest(ids=[2], texts=["a"]))
            assert list((await stream.read()).ids) == [2]
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF

    async def test_the_work_of_a_client_behind_a_dead_link_is_dropped(self):
        """No FIN, no RST, nothing: only pings find out."""
        async with fake_serving() as fake:
            with Proxy(fake.server.port) as proxy:
                async with grpc.aio.insecure_channel(proxy.target) as channel:
                    fake.runner.gate.clear()
                    stub = type(fake)(fake.server, channel, fake.observer).stub
                    stream = stub.EmbedStream()
                    await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
                    assert await asyncio.to_thread(
                        fake.runner.entered.acquire, timeout=hang_limit(5)
                    )
                    for i in range(2, 9):
                        await stream.write(pb.EmbedStreamRequest(ids=[i], texts=["b"]))
                    proxy.swallow()
                    await until(lambda: bool(fake.observer.requests))
                    assert fake.observer.requests[0].code == "CANCELLED"
                    assert "0.000 of" in repr(fake.server._gate.embedder().room)
                    stream.cancel()


async def _states(channel: grpc.aio.Channel, wanted: grpc.ChannelConnectivity) -> bool:
    """Wait until a channel is in this state."""
    while (state := channel.get_state()) is not wanted:
        await channel.wait_for_state_change(state)
    return True


class TestAge:
    """Connections end; streams that last longer are told before, and lose nothing."""

    @pytest.mark.parametrize("oldest", [2, 60, 3600, 86400])
    def test_a_stream_is_told_in_time_whenever_it_began(self, oldest: float):
        life = lifetime(oldest)
        assert 1.1 * life.age + life.grace <= oldest  # gRPC's own jitter is a tenth
        assert 0.7 * life.grace <= life.notice < life.grace

    async def test_a_stream_is_told_to_reconnect_and_read_until_its_half_close(self):
        async def attempt(seconds: float) -> None:
            async with fake_serving({"connection_seconds": seconds}) as fake:
                stream = fake.stub.EmbedStream()
                await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
                assert list((await stream.read()).ids) == [1]
                assert (await stream.read()).notice == pb.NOTICE_RECONNECT
                await stream.write(pb.EmbedStreamRequest(ids=[2], texts=["b"]))
                assert list((await stream.read()).ids) == [2]
                await stream.done_writing()
                assert await stream.read() is grpc.aio.EOF
                assert await stream.code() is grpc.StatusCode.OK

        await with_time(attempt, seconds=LIVES)

    async def test_who_does_not_listen_is_cut(self):
        async def attempt(seconds: float) -> None:
            async with fake_serving({"connection_seconds": seconds}) as fake:
                stream = fake.stub.EmbedStream()
                await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
                assert (await stream.read()).ids
                assert (await stream.read()).notice == pb.NOTICE_RECONNECT
                with pytest.raises(grpc.aio.AioRpcError):
                    await stream.read()

        await with_time(attempt, seconds=LIVES)

    async def test_a_long_async_stream_outlives_several_connections(self):
        async def attempt(seconds: float) -> None:
            async with fake_serving({"connection_seconds": seconds}) as fake:
                with Proxy(fake.server.port) as proxy:
                    async with qwire.AsyncClient(proxy.target) as client:
                        texts = _slowly_async(3 * seconds)
                        items = [
                            (item.id, item.error)
                            async for item in client.embed_stream(texts, chunk_size=2)
                        ]
                    assert items == [(i, None) for i in range(_LONG)]
                    assert proxy.connections >= 3
                assert {record.code for record in fake.observer.requests} == {"OK"}

        await with_time(attempt, seconds=LIVES)

    async def test_a_long_sync_stream_outlives_several_connections(self):
        async def attempt(seconds: float) -> None:
            async with fake_serving({"connection_seconds": seconds}) as fake:
                with Proxy(fake.server.port) as proxy:

                    def stream() -> list[tuple[int, object]]:
                        with qwire.Client(proxy.target) as client:
                            answers = client.embed_stream(_slowly(3 * seconds), chunk_size=2)
                            return [(item.id, item.error) for item in answers]

                    assert await asyncio.to_thread(stream) == [(i, None) for i in range(_LONG)]
                    assert proxy.connections >= 3
                assert {record.code for record in fake.observer.requests} == {"OK"}

        await with_time(attempt, seconds=LIVES)


LIVES = (1.5, 4.0, 10.0)  # of connections, in seconds
_LONG = 400


def _slowly(seconds: float):
    """Texts for so many seconds."""
    for i in range(_LONG):
        yield f"text {i}"
        time.sleep(seconds / _LONG)


async def _slowly_async(seconds: float):
    for i in range(_LONG):
        yield f"text {i}"
        await asyncio.sleep(seconds / _LONG)


class TestDescriptors:
    """The soft limit of open files is that of a time with fewer connections."""

    def test_it_is_raised_as_far_as_needed(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
            assert descriptors.make_room(50, 2) == 50
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400
            assert descriptors.make_room(250, 2) == 250
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 756
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_a_hard_limit_that_is_too_low_is_told(self, caplog: pytest.LogCaptureFixture):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard == resource.RLIM_INFINITY:
            pytest.skip("there is no hard limit here")
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            most = descriptors.make_room(hard, 2)
            assert most == (hard - 256) // 2
            assert f"--max-connections {hard}" in caplog.text
            assert f"at most {most} connections" in caplog.text
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @pytest.mark.parametrize("files", [1, 64, 100, 200, 300, 1024, 4096])
    def test_what_is_taken_leaves_files_for_the_rest(self, files: int):
        for ports in (1, 2):
            most = descriptors.fitting(files, ports)
            assert most * ports + min(48, files) <= max(files, 48)

    @pytest.mark.torch
    @pytest.mark.timeout(120)
    def test_few_open_files_and_many_idle_connections_cost_little_log_and_no_health(self):
        """150 connections of anybody with a hard limit of 64: it was 8 MB of log a second."""
        limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        start = "import sys; from qwire.cli import main; sys.exit(main())"
        arguments = ["serve", "--model", "demo", "--grpc-port", "0", "--http-port", "0"]
        with subprocess.Popen(
            [sys.executable, "-c", limit + start, *arguments], stderr=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stderr
                lines: list[str] = []
                while " ready: " not in (line := server.stderr.readline()):
                    assert line, lines
                    lines.append(line)
                ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", line)]
                assert any("may have 64 open files" in line for line in lines)
                idle = []
                for i in range(150):
                    with contextlib.suppress(OSError):
                        idle.append(socket.create_connection(("127.0.0.1", ports[i % 2]), 1))
                time.sleep(3)
                for one in idle:
                    one.close()
                with qwire.Client(f"127.0.0.1:{ports[0]}", timeout=30) as client:
                    assert client.embed(["a"]).vectors.shape[0] == 1
            finally:
                server.terminate()
                rest = server.stderr.read()
            assert len(rest) < 50_000
            assert server.wait(30) == 0


_CLIENT = """
import ctypes, sys, time
import grpc
from qwire.v1 import embedding_pb2 as pb, embedding_pb2_grpc as pb_grpc
def texts():
    yield pb.EmbedStreamRequest(ids=[1], texts=["a"])
    time.sleep(600)
channel = grpc.insecure_channel(sys.argv[1])
replies = pb_grpc.EmbeddingStub(channel).EmbedStream(texts())
assert next(replies).ids == [1]
print("ready", flush=True)
if sys.argv[2] == "busy":
    ctypes.PyDLL(None).sleep(25)  # holds the interpreter's lock
    print("alive" if replies.is_active() else "cut", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["stopped", "busy"])
async def test_a_stopped_client_is_cut_in_seconds_and_a_busy_one_is_not(what: str):
    """With the numbers that are served."""
    async with fake_serving() as fake:
        target = f"127.0.0.1:{fake.server.port}"
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CLIENT, target, what, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert client.stdout
            assert await client.stdout.readline() == b"ready\n"
            if what == "busy":
                assert await client.stdout.readline() == b"alive\n"
                assert fake.server.open_calls == 1
            else:
                client.send_signal(signal.SIGSTOP)
                await asyncio.wait_for(until(lambda: fake.server.open_calls == 0), hang_limit(60))
        finally:
            client.kill()
            await client.wait()
