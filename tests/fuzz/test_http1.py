"""Garbage on the HTTP port: it goes on answering, and holds nothing of it."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from support.machine_speed import hang_limit
from support.serving import Running, fake_serving, until
from support.sockets import connection, until_closed

BODY = b'{"input": ["a", "b"]}'
GOOD = (
    b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
)
HOST = b"Host: localhost\r\n"
HOSTILE = {
    "zeros": b"\0" * 10_000,
    "a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "a client of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "line ends": b"\r\n" * 50_000,
    "one long word": b"G" * 100_000,
    "a long path": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "another version": b"GET / HTTP/3.7\r\n" + HOST + b"\r\n",
    "another method": b"\x01\x02 / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
    "a path of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path of half escapes": b"GET /%ff%zz%0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header of bytes": b"GET / HTTP/1.1\r\n" + HOST + b"X: \xff\xfe\r\n\r\n",
    "a header with a zero": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a negative length": GOOD.replace(b"Length: 21", b"Length: -1"),
    "a length of words": GOOD.replace(b"Length: 21", b"Length: many"),
    "a length beyond all": GOOD.replace(b"Length: 21", b"Length: " + b"9" * 5_000),
    "a length of other digits": GOOD.replace(b"Length: 21", "Length: ²¹".encode()),
    "two lengths": GOOD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1),
    "a length and chunks": GOOD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1),
    "chunks of nothing": GOOD.replace(b"Content-Length: 21", b"Transfer-Encoding: chunked"),
    "a chunk beyond all": b"POST /embed HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    "an expectation": GOOD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1),
    "an upgrade": GOOD.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 1),
    "a web socket": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    "many at once": GOOD * 200,
    "good ones and garbage": GOOD + b"\0\xff" * 100 + GOOD,
    "nested": GOOD.replace(BODY, b'{"input":' + b"[" * 9 + b'"a"').replace(
        b"Length: 21", b"Length: 200000"
    )
    + b"[" * 199_979,
}


@pytest.fixture
async def fake():
    async with fake_serving({"http_port": 0}) as running:
        yield running


async def attack(fake: Running, data: bytes) -> None:
    with suppress(OSError, asyncio.TimeoutError):
        async with connection(fake.server.http_port) as (reader, writer):
            writer.write(data)
            await asyncio.wait_for(writer.drain(), hang_limit(5))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1 << 20), 0.05)


async def answers(fake: Running) -> None:
    async with connection(fake.server.http_port) as (reader, writer):
        writer.write(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
    await until(lambda: fake.server.open_calls == 0)
    state = fake.server._http._server.server_state
    await until(lambda: not state.connections and not state.tasks)
    assert not [record for record in fake.observer.requests if record.reason == "INTERNAL"]


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_requests(fake: Running, data: bytes):
    await attack(fake, data)
    await answers(fake)


@pytest.mark.parametrize("rounds", [60, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
async def test_a_good_request_changed_anywhere(fake: Running, rounds: int):
    luck = random.Random(rounds)
    for _ in range(rounds):
        data = bytearray(GOOD)
        for _ in range(luck.randrange(1, 6)):
            at = luck.randrange(len(data))
            data[at : at + luck.randrange(3)] = luck.randbytes(luck.randrange(4))
        await attack(fake, bytes(data[: luck.randrange(1, len(data))]))
    await answers(fake)
