"""gRPC messages that are small on the wire, or broken: little memory and a status, every method."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
import zlib
from collections import Counter
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2
from qwire_server.api.rpc import decoder as decoder_module
from qwire_server.api.rpc.decoder import MessageDecoder
from qwire_server.api.rpc.decoding import decoded, decompressed, is_compressed
from qwire_server.api.rpc.needs import LABELS
from qwire_server.errors import InvalidRequest, Overloaded, RequestTooLarge
from qwire_server.pb.tei.v1 import tei_pb2
from support.keys import KeyFile, bearer, keyed_process, peak
from support.serving import Running, until

MIB = 1024 * 1024
MOST = 65_536
STRING = FieldDescriptor.TYPE_STRING
FULL = 16 * MIB - 64
METHODS = [
    method
    for file in (pb, rerank_pb2, tei_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
UNARY = [method for method in METHODS if not method.client_streaming]
# Each is a few KB once it is compressed. An element of each kind, as often as it fits.
BOMBS = {
    "empty texts, field 2": b"\x12\x00" * (FULL // 2),
    "empty texts, field 3": b"\x1a\x00" * (FULL // 2),
    "empty messages, field 1": b"\x0a\x00" * (FULL // 2),
    "ids in many blocks": b"\x0a\x02\x01\x01" * (FULL // 4),
    "ids one by one": b"\x08\x01" * (FULL // 2),
    "fields that nobody knows": b"\xf8\x07\x00" * (FULL // 3),
    "numbers of eight bytes": b"\x09" + bytes(8) + b"\x11" * (FULL - 16),
    "groups in groups": b"\x0b" * FULL,
}

# Ids, of which each takes a byte; the field's number is the message's.
BLOCK = b"\xf0\xff\xff\x07" + b"\x01" * (FULL - 16)


def path_of(method) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def call(channel, method):
    asks = "stream" if method.client_streaming else "unary"
    tells = "stream" if method.server_streaming else "unary"
    return getattr(channel, f"{asks}_{tells}")(path_of(method))


async def ended(channel, method, *bodies: bytes, **kwargs) -> grpc.aio.AioRpcError:
    """How a call ends that has these messages."""

    async def sent():
        for body in bodies:
            yield body

    request = sent() if method.client_streaming else bodies[0]
    try:
        reply = call(channel, method)(request, timeout=20, **kwargs)
        if method.server_streaming:
            async for _ in reply:
                pass
        else:
            await reply
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"{method.name} answered it")


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize(
    "kind",
    [pb.EmbedRequest, pb.EmbedStreamRequest, rerank_pb2.RerankRequest, tei_pb2.DecodeRequest],
)
def test_elements_are_counted_before_a_message_is_built(kind, body: bytes, monkeypatch):
    built: list[int] = []
    monkeypatch.setattr(kind, "FromString", built.append, raising=False)
    with pytest.raises(InvalidRequest):
        decoded(body, kind, MOST)
    assert not built


@pytest.mark.parametrize(
    ("kind", "field"), [(pb.EmbedStreamRequest, 2), (tei_pb2.DecodeRequest, 1)]
)
def test_so_are_numbers_in_one_block(kind, field: int):
    with pytest.raises(RequestTooLarge, match="elements"):
        decoded(bytes([field << 3 | 2]) + BLOCK, kind, MOST)


@pytest.mark.parametrize("kind", [pb.EmbedRequest, pb.EmbedStreamRequest, tei_pb2.DecodeRequest])
def test_the_most_elements_are_taken_and_one_more_is_not(kind):
    repeated = "ids" if kind is tei_pb2.DecodeRequest else "texts"
    values = list(range(MOST)) if repeated == "ids" else [""] * MOST
    # A block of numbers is an element itself.
    body = kind(**{repeated: values}).SerializeToString()
    most = MOST + (repeated == "ids")
    assert len(getattr(decoded(body, kind, most), repeated)) == MOST
    with pytest.raises(RequestTooLarge, match=f"more than {most - 1} elements"):
        decoded(body, kind, most - 1)


def test_what_is_decoded_is_what_was_sent():
    drawn = random.Random(16)
    for _ in range(200):
        texts = ["ä" * drawn.randrange(2000) for _ in range(drawn.randrange(200))]
        ids = [drawn.randrange(1 << drawn.randrange(1, 64)) for _ in texts]
        message = pb.EmbedStreamRequest(ids=ids, texts=texts)
        assert decoded(message.SerializeToString(), pb.EmbedStreamRequest, 500) == message


@pytest.mark.parametrize("size", [16 * MIB + 1, 256 * MIB])
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_no_more_is_decompressed_than_a_message_may_have(compress, size: int):
    raw = compress(bytes(size))
    assert is_compressed(raw)
    with pytest.raises(RequestTooLarge, match="once it is decompressed"):
        decompressed(raw)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_what_is_broken_or_goes_on_after_its_end_is_refused(compress):
    raw = compress(b"\x12\x01a" * 100)
    assert decompressed(raw) == b"\x12\x01a" * 100
    for broken in (raw[:-1], raw + b"\x00", raw + raw, raw[:-6] + b"\xff\xff" + raw[-4:]):
        with pytest.raises(InvalidRequest):
            decompressed(broken)


async def test_messages_of_all_calls_together_are_bounded(monkeypatch):
    monkeypatch.setattr(decoder_module, "_MAX_HELD_BYTES", 3000)
    decoder = MessageDecoder(MOST)
    body = pb.EmbedRequest(texts=["a" * 1000]).SerializeToString()
    held = [(await decoder.decode(body, pb.EmbedRequest))[1] for _ in range(2)]
    with pytest.raises(Overloaded, match="messages of all open calls"):
        await decoder.decode(body, pb.EmbedRequest)
    with pytest.raises(Overloaded):  # though it is small on the wire
        await decoder.decode(gzip.compress(body), pb.EmbedRequest)
    for one in held:
        decoder.release(one)
    await decoder.decode(gzip.compress(body), pb.EmbedRequest)
    with pytest.raises(InvalidRequest):
        await decoder.decode(b"\xff" * 1000, pb.EmbedRequest)
    assert decoder._held == len(body)  # what is refused holds nothing


@pytest.mark.parametrize("compression", grpc.Compression)
async def test_a_compressed_call_is_answered_as_any_other(fake: Running, compression):
    texts = ["the same text", "another"]
    rows = await fake.stub.Embed(pb.EmbedRequest(texts=texts), compression=compression)
    assert rows.vectors.data == (await fake.stub.Embed(pb.EmbedRequest(texts=texts))).vectors.data
    stream = fake.stub.EmbedStream(
        iter([pb.EmbedStreamRequest(ids=[1, 2], texts=texts)]), compression=compression
    )
    assert {i async for reply in stream for i in reply.ids} == {1, 2}


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_a_message_that_is_none_is_an_invalid_argument_with_a_record(fake: Running, method):
    for body in (b"\xff\xff\xff\xff", b"\x0a\x05a", b"\x0a\x02\xc3\x28", b"\x1f\x8b\x08broken"):
        fields = method.input_type.fields
        if body == b"\x0a\x02\xc3\x28" and not (fields and fields[0].type == STRING):
            continue  # this is only wrong where it is a text
        fake.observer.requests.clear()
        error = await ended(fake.channel, method, body, metadata=[("x-request-id", "mine")])
        refuses_all = error.code() in {
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.UNIMPLEMENTED,
        }
        # A stream that is offered by no model ends before it reads.
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT or (
            method.client_streaming and refuses_all
        ), (body, error)
        trailers = dict(error.trailing_metadata())
        assert trailers["x-request-id"] == "mine"
        if not refuses_all:
            assert trailers["qwire-error-code"] == "INVALID_REQUEST"
        await until(lambda: bool(fake.observer.requests))
        record = fake.observer.requests[0]
        assert record.method == LABELS[path_of(method)]
        assert record.code == error.code().name


@pytest.mark.parametrize("service", ["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"])
async def test_so_is_one_for_health(fake: Running, service: str):
    check = fake.channel.unary_stream(f"/{service}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in check(b"\xff\xff", timeout=10):
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["qwire-error-code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("method", UNARY, ids=path_of)
async def test_a_unary_call_without_a_message_gets_a_status(fake: Running, method):
    async def nothing():
        for never in ():
            yield never

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fake.channel.stream_unary(path_of(method))(nothing(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "before its message" in caught.value.details()
    assert dict(caught.value.trailing_metadata())["qwire-error-code"] == "INVALID_REQUEST"


async def test_counts_are_checked_before_a_list_is_made(fake: Running):
    most = fake.server._gate.embedder().served.limits.max_texts
    for name, kind in (("Embed", pb.EmbedRequest), ("CountTokens", pb.CountTokensRequest)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(fake.stub, name)(kind(texts=["a"] * (most + 1)))
        assert f"{most + 1} texts in one request" in caught.value.details()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_many_small_calls_that_hold_millions_of_elements_take_little_memory(tmp_path: Path):
    """Twelve at once of each kind to all methods that have lists; each was 340 MiB at least."""
    file = KeyFile(tmp_path / "keys.toml")
    key = file.new("a")
    listed = ["/qwire.v1.Embedding/Embed", "/qwire.v1.Embedding/CountTokens"]
    listed += ["/qwire.v1.Reranking/Rerank", "/tei.v1.Rerank/Rerank", "/tei.v1.Tokenize/Decode"]
    with keyed_process(file) as (process, (port, _)):
        ends: Counter[str] = Counter()

        def one(path: str, body: bytes) -> None:
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
                try:
                    channel.unary_unary(path)(
                        body, metadata=bearer(key), timeout=50, compression=grpc.Compression.Gzip
                    )
                except grpc.RpcError as error:
                    ends[error.code().name] += 1

        one(listed[0], b"")  # a first call takes memory of its own
        before, ends = peak(process), Counter()
        threads = [
            threading.Thread(target=one, args=(path, body))
            for body in (BOMBS["empty texts, field 2"], b"\x0a" + BLOCK)
            for path in listed * 3
            if body[0] == 0x12 or path.endswith("Decode")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert peak(process) - before < 160 * MIB
        assert ends == {"INVALID_ARGUMENT": len(threads)}


async def test_a_call_that_is_cancelled_before_its_message_leaves_nothing(fake: Running):
    for _ in range(20):
        stream = fake.channel.stream_unary("/qwire.v1.Embedding/Embed")()
        await asyncio.sleep(0.002)
        stream.cancel()
    await fake.embed("after")
    await until(lambda: fake.server.open_calls == 0)
