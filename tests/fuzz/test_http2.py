"""Garbage, truncated and hostile frames on the gRPC port: it answers on, and nothing grows."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from qwire.v1 import embedding_pb2 as pb
from support import http2
from support.http2 import call, frame, message
from support.machine_speed import hang_limit
from support.runners import DIM
from support.serving import Running, fake_serving, until
from support.sockets import connection

HELLO = http2.PREFACE + frame(http2.SETTINGS)
OPEN = frame(http2.HEADERS, http2.END_HEADERS, 1, call())
ENDED = frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, call())
ASK = message(pb.EmbedRequest(texts=["a"]).SerializeToString())
GOOD = HELLO + OPEN + frame(http2.DATA, http2.END_STREAM, 1, ASK)
STREAM = call(b"/qwire.v1.Embedding/EmbedStream")
CHUNK = message(pb.EmbedStreamRequest(ids=[1], texts=["a"]).SerializeToString())


def rapid_resets(times: int) -> bytes:
    """Calls that are taken back at once (CVE-2023-44487)."""
    each = (2 * i + 1 for i in range(times))
    cancel = b"\0\0\0\x08"
    return b"".join(
        frame(http2.HEADERS, http2.END_HEADERS, i, STREAM) + frame(http2.RST, 0, i, cancel)
        for i in each
    )


HOSTILE = {
    "zeros": b"\0" * 10_000,
    "a client of HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    "a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "half a preface": http2.PREFACE[:10],
    "two prefaces": http2.PREFACE * 2,
    "a preface and no settings": http2.PREFACE + OPEN,
    "headers without end": HELLO
    + frame(http2.HEADERS, 0, 1, call())
    + frame(http2.CONTINUATION, 0, 1, http2.block((b"x", b"y" * 100))) * 20_000,
    "empty continuations": HELLO
    + frame(http2.HEADERS, 0, 1, call())
    + frame(http2.CONTINUATION, 0, 1) * 20_000,
    "a huge header": HELLO
    + frame(http2.HEADERS, 0, 1, call())
    + frame(http2.CONTINUATION, 0, 1, b"\x10" + http2.string(b"x") + http2.integer(10**7, 7))
    + frame(http2.CONTINUATION, 0, 1, b"y" * 16_000) * 200,
    "many headers": HELLO
    + frame(http2.HEADERS, 0, 1, call())
    + frame(http2.CONTINUATION, http2.END_HEADERS, 1, http2.block(*[(b"x", b"y")] * 2000)),
    "a continuation of nothing": HELLO + frame(http2.CONTINUATION, http2.END_HEADERS, 1, call()),
    "a frame between headers": HELLO + frame(http2.HEADERS, 0, 1, call()) + frame(http2.PING),
    "a table entry that is not there": HELLO + frame(http2.HEADERS, 0x5, 1, b"\xff\xff\xff\x7f"),
    "a table as large as memory": HELLO + frame(http2.HEADERS, 0x5, 1, b"\x3f\xe1\xff\xff\xff\x0f"),
    "a number without end": HELLO + frame(http2.HEADERS, 0x5, 1, b"\x7f" + b"\xff" * 100),
    "a string beyond its frame": HELLO + frame(http2.HEADERS, 0x5, 1, b"\x10\x01x\x7f\xff\x7f"),
    "settings without end": HELLO + frame(http2.SETTINGS) * 20_000,
    "settings of a wrong length": HELLO + frame(http2.SETTINGS, 0, 0, b"12345"),
    "a window below zero": HELLO + frame(http2.SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"),
    "pings without end": HELLO + frame(http2.PING, 0, 0, b"12345678") * 20_000,
    "acknowledgements of nothing": HELLO + frame(http2.PING, http2.ACK, 0, b"12345678") * 5_000,
    "resets": HELLO + rapid_resets(3_000),
    "windows beyond all bounds": HELLO + frame(http2.WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 10,
    "a window of nothing": HELLO + OPEN + frame(http2.WINDOW, 0, 1, b"\0\0\0\0"),
    "priorities": HELLO + frame(http2.PRIORITY, 0, 3, b"\0\0\0\0\1") * 5_000,
    "a push": HELLO + frame(http2.PUSH, http2.END_HEADERS, 1, b"\0\0\0\2" + call()),
    "unknown frames": HELLO + frame(0x7F, 0xFF, 0x7FFFFFFF, b"x" * 100) * 5_000,
    "a frame that is too large": HELLO + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100_000,
    "an even stream": HELLO + frame(http2.HEADERS, 0x5, 2, call()),
    "headers of the connection": HELLO + frame(http2.HEADERS, 0x5, 0, call()),
    "a stream that is behind": HELLO + OPEN.replace(b"\0\0\0\1", b"\0\0\0\5", 1) + OPEN,
    "data before headers": HELLO + frame(http2.DATA, 0, 1, ASK),
    "data of the connection": HELLO + frame(http2.DATA, 0, 0, ASK),
    "padding beyond its frame": HELLO + OPEN + frame(http2.DATA, http2.PADDED, 1, b"\xff12"),
    "empty data without end": HELLO + OPEN + frame(http2.DATA, 0, 1) * 20_000,
    "data after the end": HELLO + ENDED + frame(http2.DATA, 0, 1, ASK) * 10,
    "the end, and then a call": HELLO + frame(http2.GOAWAY, 0, 0, b"\0" * 8) + GOOD[len(HELLO) :],
    "half a message": HELLO + OPEN + frame(http2.DATA, http2.END_STREAM, 1, ASK[:-1]),
    "two messages for one": HELLO + OPEN + frame(http2.DATA, http2.END_STREAM, 1, ASK * 2),
    "no message": HELLO + ENDED,
    "a message of 4 GiB": HELLO + OPEN + frame(http2.DATA, 0, 1, message(b"x", 2**32 - 1)),
    "a message that says it is packed": HELLO
    + OPEN
    + frame(http2.DATA, http2.END_STREAM, 1, message(b"x" * 100, compressed=1)),
    "a message with odd flags": HELLO
    + OPEN
    + frame(http2.DATA, http2.END_STREAM, 1, message(b"x", compressed=255)),
    "a stream that sends and goes": HELLO
    + frame(http2.HEADERS, http2.END_HEADERS, 1, STREAM)
    + b"".join(frame(http2.DATA, 0, 1, CHUNK) for _ in range(500)),
    "many streams that stay": HELLO
    + b"".join(frame(http2.HEADERS, http2.END_HEADERS, 2 * i + 1, STREAM) for i in range(1_500)),
}
BAD_CALLS = {
    "no path": call(path=b""),
    "no method": call(method=b""),
    "GET": call(method=b"GET"),
    "another type": call(content_type=b"text/html"),
    "no type": call(content_type=b""),
    "no trailers": call(te=b""),
    "an unknown service": call(b"/a.b/c"),
    "a path of dots": call(b"/../../etc/passwd"),
    "a path that is long": call(b"/" + b"x" * 8_000),
    "a path of bytes": call(b"/\xff\xfe\x00"),
    "an odd scheme": call(scheme=b"javascript"),
    "no authority": call(authority=b""),
    "a header in capitals": call(b"/qwire.v1.Embedding/Embed", (b"X-UPPER", b"x")),
    "a header with a line end": call(b"/qwire.v1.Embedding/Embed", (b"x", b"a\r\nb: c")),
    "a header that is not ASCII": call(b"/qwire.v1.Embedding/Embed", (b"x-name", b"\xc3\xa9\xff")),
    "a header with a zero": call(b"/qwire.v1.Embedding/Embed", (b"x-request-id", b"a\0b")),
    "bytes that are no base64": call(b"/qwire.v1.Embedding/Embed", (b"x-bin", b"!!!not base64")),
    "bytes that are long": call(b"/qwire.v1.Embedding/Embed", (b"x-bin", b"AAAA" * 2_000)),
    "details of a status": call(b"/qwire.v1.Embedding/Embed", (b"grpc-status", b"x")),
    "a packing that nobody knows": call(b"/qwire.v1.Embedding/Embed", (b"grpc-encoding", b"zip")),
    **{
        f"a deadline of {value!r}": call(b"/qwire.v1.Embedding/Embed", (b"grpc-timeout", value))
        for value in (b"", b"x", b"-1S", b"99999999999999999999H", b"1", b"1X", b"0n", b"1S" * 100)
    },
}


@pytest.fixture
async def fake():
    async with fake_serving() as running:
        yield running


async def attack(fake: Running, data: bytes, *, reset: bool = False) -> None:
    """Send all of it, as far as it is taken, read what comes, and go."""
    with suppress(OSError, asyncio.TimeoutError):
        async with connection(fake.server.port) as (reader, writer):
            writer.write(data)
            await asyncio.wait_for(writer.drain(), hang_limit(5))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1 << 20), 0.05)
            if reset:
                writer.transport.abort()


async def answers(fake: Running) -> None:
    """A good call, on a connection of long standing, is answered; nothing of an attack is left."""
    assert (await fake.embed("after")).shape == (1, DIM)
    await until(lambda: fake.server.open_calls == 0)
    assert "0.000 of" in repr(fake.server._gate.embedder().room)


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_frames(fake: Running, data: bytes):
    await attack(fake, data)
    await answers(fake)


async def test_a_good_call_by_hand_is_answered(fake: Running):
    """So that the others are known to be wrong in one thing only."""
    async with connection(fake.server.port) as (reader, writer):
        writer.write(GOOD)
        got = b""
        while b"\x00\x00\x00\x20"[::-1] not in got and len(got) < 100:
            got += await reader.read(4096)
        await until(lambda: bool(fake.observer.requests))
    assert fake.observer.requests[0].code == "OK"


async def test_hostile_headers(fake: Running):
    """Each in a call that is whole otherwise; all of them on connections of their own."""
    for block in BAD_CALLS.values():
        data = HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, block)
        await attack(fake, data + frame(http2.DATA, http2.END_STREAM, 1, ASK))
    await answers(fake)
    assert all(record.reason != "INTERNAL" for record in fake.observer.requests)


async def test_a_path_that_is_no_text_stops_nothing(fake: Running):
    """It ends a server of grpcio 1.84 and later, with all its calls: see `api/rpc/core.py`."""
    stream = fake.stub.EmbedStream()
    await stream.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
    assert list((await stream.read()).ids) == [1]
    for path in (b"/\xff\xfe\x00", b"\xff" * 1000, b"/qwire.v1.Embedding/\xff"):
        await attack(fake, HELLO + frame(http2.HEADERS, 0x5, 1, call(path)))
    await stream.write(pb.EmbedStreamRequest(ids=[2], texts=["b"]))
    assert list((await stream.read()).ids) == [2]
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


@pytest.mark.parametrize("path", ["/qwire.v1.Embedding/Nothing", "/no.Service/Embed", "/"])
async def test_a_method_that_is_not_there_is_unimplemented(fake: Running, path: str):
    for kind in ("unary_unary", "stream_stream"):
        asked = getattr(fake.channel, kind)(path)
        reply = asked(b"") if kind == "unary_unary" else asked()
        assert await reply.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_good_call_cut_anywhere(fake: Running):
    for end in range(1, len(GOOD), 7):
        await attack(fake, GOOD[:end], reset=end % 2 == 0)
    await answers(fake)


async def test_random_bytes_and_random_changes(fake: Running):
    luck = random.Random(7)
    for _ in range(30):
        await attack(fake, luck.randbytes(luck.randrange(1, 2000)))
        await attack(fake, HELLO + luck.randbytes(luck.randrange(1, 2000)))
        await attack(fake, changed(GOOD, luck))
    await answers(fake)


def changed(data: bytes, luck: random.Random) -> bytes:
    """A few bytes of it are others, or missing, or twice there."""
    bytes_ = bytearray(data)
    for _ in range(luck.randrange(1, 6)):
        at = luck.randrange(len(http2.PREFACE), len(bytes_))
        bytes_[at : at + luck.randrange(2)] = luck.randbytes(luck.randrange(3))
    return bytes(bytes_)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_grows_however_often(fake: Running):
    """Memory, tasks and descriptors are after many rounds what they were after the first few."""
    luck = random.Random(11)
    seen: list[tuple[int, int, int]] = []
    for _ in range(6):
        for data in HOSTILE.values():
            await attack(fake, data)
        for _ in range(150):
            await attack(fake, changed(GOOD, luck))
        await answers(fake)
        seen.append((resident(), len(asyncio.all_tasks()), descriptors()))
    first, last = seen[2], seen[-1]
    assert last[0] < first[0] + 40 * 1024 * 1024, seen
    assert last[1] <= first[1] + 5, seen
    assert last[2] <= first[2] + 20, seen


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Files and sockets that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
