"""Clients that send and never read, over gRPC."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import asynccontextmanager

import grpc
import pytest

import qwire
from qwire.v1 import embedding_pb2 as pb
from qwire_server.engine.queue import quota
from qwire_server.pb.tei.v1 import tei_pb2
from support.patience import with_time
from support.runners import DIM
from support.serving import Running, fake_serving, until
from support.tei import Tei

WIDE = 4096  # values a vector: a few hundred of them fill what the transport takes unread
QUICK = {"stalled_seconds": 0.3}


@asynccontextmanager
async def of_its_own(fake: Running):
    """A channel of its own."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    target = f"127.0.0.1:{fake.server.port}"
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield Running(fake.server, channel, fake.observer)


async def flood(stub):
    """Open a stream that sends and does not read."""
    stream = stub.EmbedStream()

    async def send() -> None:
        for i in range(0, 4000, 50):
            await stream.write(pb.EmbedStreamRequest(ids=range(i, i + 50), texts=["a"] * 50))

    stream.sending = asyncio.ensure_future(send())
    return stream


async def given_up(fake: Running, streams: int) -> None:
    """Wait until so many streams have ended."""
    await until(lambda: len(fake.observer.requests) >= streams)


async def end(*streams) -> None:
    for stream in streams:
        stream.cancel()
        await asyncio.gather(stream.sending, return_exceptions=True)


async def test_what_an_unread_stream_held_is_free_again():
    async with fake_serving(QUICK, dim=WIDE, stream_tokens=100_000) as fake:
        stream = await flood(fake.stub)
        await given_up(fake, 1)
        record = fake.observer.requests[0]
        assert (record.method, record.code, record.reason) == (
            "EmbedStream",
            "UNAVAILABLE",
            "UNAVAILABLE",
        )
        assert fake.server.open_calls == 0  # so it holds up no stop either
        assert "0.000 of" in repr(fake.server._gate.embedder().room)
        assert "works 0" in repr(fake.server)
        await end(stream)


async def test_who_reads_at_last_is_told_why_the_stream_ended():
    """Who has sent all by then: a status that meets a write is lost on its way, in grpc.aio."""
    async with fake_serving(QUICK, dim=WIDE, stream_tokens=100_000) as fake:
        for tries in itertools.count(1):
            stream = await flood(fake.stub)
            await asyncio.wait([stream.sending])
            await given_up(fake, tries)
            if not stream.sending.exception():
                break
            await end(stream)
        answered: list[int] = []

        async def read() -> None:
            while (reply := await stream.read()) is not grpc.aio.EOF:
                answered.extend(reply.ids)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read()
        assert answered == list(range(len(answered)))
        assert len(answered) < 4000
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["qwire-error-code"] == "UNAVAILABLE"
        assert "was not read for 0.3 s" in caught.value.details()
        await end(stream)


async def test_a_client_that_takes_its_time_is_not_given_up():
    """Each reply is read within the time, all of them together take much longer."""

    async def attempt(seconds: float) -> None:
        settings = {"stalled_seconds": seconds}
        async with fake_serving(settings, dim=WIDE, stream_tokens=100_000) as fake:
            stream = await flood(fake.stub)
            answered = 0
            for _ in range(12):
                await asyncio.sleep(seconds / 5)
                answered += len((await stream.read()).ids)
            ended = list(fake.observer.requests)
            await end(stream)
            assert answered
            assert not ended

    await with_time(attempt)


async def test_clients_with_too_many_unread_streams_get_no_more_until_those_are_gone(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(quota, "_MOST_STALLED", 2)
    async with fake_serving(QUICK, dim=WIDE, stream_tokens=100_000) as fake:
        async with of_its_own(fake) as other:
            streams = [await flood(other.stub) for _ in range(2)]
            await given_up(fake, 2)
            refused = fake.stub.EmbedStream()  # the same address, so the same client
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await refused.read()
            assert dict(caught.value.trailing_metadata())["qwire-error-code"] == "QUOTA_EXCEEDED"
            assert "reads none of" in caught.value.details()
            await end(*streams)
        quotas = fake.server._gate.embedder().room.quotas
        await until(lambda: all(not a.stalled for a in quotas._accounts.values()))
        stream = fake.stub.EmbedStream()
        await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
        assert list((await stream.read()).ids) == [1]
        await stream.done_writing()


async def test_our_client_reads_while_its_user_does_not():
    """Its user may leave an answer in hand for longer than any reply may lie unread."""

    async def attempt(seconds: float) -> None:
        async with fake_serving({"stalled_seconds": seconds}, dim=WIDE) as fake:
            async with qwire.AsyncClient(f"127.0.0.1:{fake.server.port}") as client:
                count = 0
                async for item in client.embed_stream([f"t {i}" for i in range(300)], window=64):
                    if count == 10:
                        await asyncio.sleep(2 * seconds)
                    assert item.error is None
                    count += 1
            assert count == 300
            await given_up(fake, 1)
            assert [record.code for record in fake.observer.requests] == ["OK"]

    await with_time(attempt)


async def test_an_unread_stream_of_tei_is_given_up_too():
    async with fake_serving(QUICK, dim=WIDE, stream_tokens=100_000) as fake:
        tei = Tei(fake.channel)
        stream = tei.call("Embed/EmbedStream")

        async def send() -> None:
            for _ in range(3000):
                await stream.write(tei.message("EmbedRequest", inputs="a"))

        stream.sending = asyncio.ensure_future(send())
        await given_up(fake, 1)
        assert fake.observer.requests[0].reason == "UNAVAILABLE"
        assert fake.server.open_calls == 0
        await end(stream)


async def test_a_stream_of_tei_ends_with_its_time_after_all_its_answers():
    """It has no notices: what was accepted is answered, then it is told to open another."""
    async with fake_serving({"connection_seconds": 1.5}) as fake:
        tei = Tei(fake.channel)
        stream = tei.call("Embed/EmbedStream")
        await stream.write(tei.message("EmbedRequest", inputs="a"))
        assert len((await stream.read()).embeddings) == DIM
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "--connection-seconds" in caught.value.details()


NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
TEXT = "one text of a few words, " * 40
# What each kind of stream is sent; its replies are larger than HTTP/2's default window of 64 KB.
STREAMS = {
    "/qwire.v1.Embedding/EmbedStream": lambda i: pb.EmbedStreamRequest(
        ids=range(i * 50, i * 50 + 50), texts=["a"] * 50
    ),
    "/tei.v1.Embed/EmbedStream": lambda _: tei_pb2.EmbedRequest(inputs="a"),
    "/tei.v1.Tokenize/TokenizeStream": lambda _: tei_pb2.EncodeRequest(inputs=TEXT),
    "/tei.v1.Tokenize/DecodeStream": lambda _: tei_pb2.DecodeRequest(ids=[70] * 4000),
}


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_that_stalled_in_a_narrow_window_ends_with_its_status(path: str):
    """The core of gRPC never sent a status that came while a reply waited for its window."""
    async with fake_serving(QUICK, dim=WIDE, stream_tokens=100_000) as fake:
        waits = threading.Event()

        def read_late() -> grpc.RpcError:
            """grpc.aio may take a status that meets a write for an error of its own."""
            target = f"127.0.0.1:{fake.server.port}"
            with grpc.insecure_channel(target, options=NARROW) as channel:
                sent = (STREAMS[path](i).SerializeToString() for i in range(400))
                stream = channel.stream_stream(path)(sent)
                waits.wait()
                with pytest.raises(grpc.RpcError) as caught:
                    list(stream)
                return caught.value

        ends = asyncio.ensure_future(asyncio.to_thread(read_late))
        await given_up(fake, 1)
        assert fake.observer.requests[0].reason == "UNAVAILABLE"
        assert fake.server.open_calls == 0
        waits.set()
        error = await ends
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "was not read for 0.3 s" in error.details()
        assert dict(error.trailing_metadata())["qwire-error-code"] == "UNAVAILABLE"
