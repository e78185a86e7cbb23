"""Slow, silent and greedy peers on the HTTP port, on raw sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest

from support import web_client
from support.machine_speed import hang_limit
from support.patience import with_time
from support.serving import Running, fake_serving, until
from support.sockets import connection, until_closed

POST = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"input": "a"}'
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@asynccontextmanager
async def http(dim: int = 8, **settings):
    async with fake_serving({"http_port": 0, **settings}, dim=dim) as fake:
        yield fake


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """A byte now and then, until the server has enough of it."""
    with suppress(OSError):
        for i in range(len(data)):
            writer.write(data[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0.02)


async def still_answers(fake: Running) -> None:
    async with connection(fake.server.http_port) as (reader, writer):
        writer.write(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("first", "dripped"),
    [
        (b"", b""),  # nothing at all
        (b"", POST * 50),  # headers
        (POST + b"Content-Length: 9999\r\n\r\n", b" " * 9999),  # a body
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999),
        (WHOLE + POST + b"Content-Length: 9999\r\n\r\n", b" " * 9999),  # behind a whole one
    ],
    ids=["silent", "headers", "body", "chunks", "pipelined"],
)
async def test_a_request_that_does_not_arrive_is_given_up_with_408(first: bytes, dripped: bytes):
    async with http(http_request_seconds=0.6) as fake:
        async with connection(fake.server.http_port) as (reader, writer):
            writer.write(first)
            sending = asyncio.ensure_future(drip(writer, dripped))
            got = await until_closed(reader)
            sending.cancel()
        assert b"HTTP/1.1 408 " in got
        assert b"--http-request-seconds" in got
        await still_answers(fake)
        assert fake.server.open_calls == 0


async def test_a_body_that_drips_on_after_its_refusal_is_cut():
    """The refusal is sent at once; the connection does not live on for the body's sake."""
    async with http(http_request_seconds=0.6) as fake:
        async with connection(fake.server.http_port) as (reader, writer):
            writer.write(POST.replace(b"json", b"text") + b"Content-Length: 9999\r\n\r\n")
            sending = asyncio.ensure_future(drip(writer, b" " * 9999))
            got = await until_closed(reader)
            sending.cancel()
        assert got.startswith(b"HTTP/1.1 415 ")
        assert b"408" not in got


async def test_a_request_may_take_longer_to_answer_than_to_arrive():
    async with http(http_request_seconds=0.3) as fake:
        fake.runner.gate.clear()
        async with connection(fake.server.http_port) as (reader, writer):
            writer.write(WHOLE)
            assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
            await asyncio.sleep(0.8)
            fake.runner.gate.set()
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"


async def test_many_requests_on_one_connection_have_their_time_each():
    async def attempt(seconds: float) -> None:
        async with (
            http(http_request_seconds=seconds) as fake,
            connection(fake.server.http_port) as (reader, writer),
        ):
            for _ in range(6):
                writer.write(GET)
                assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
                await asyncio.sleep(seconds * 0.4)

    await with_time(attempt)


async def test_a_response_that_nobody_reads_is_dropped():
    """100 rows of 65,536 values: 60 MB of JSON, more than the kernel takes."""
    async with http(dim=65536, stalled_seconds=0.5) as fake:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", fake.server.http_port))
            body = b'{"input": [%b]}' % b",".join([b'"a"'] * 100)
            one.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            connections = fake.server._http._server.server_state.connections
            await until(lambda: bool(fake.observer.requests))
            assert len(connections) == 1
            await until(lambda: not connections)
        await still_answers(fake)


async def test_a_response_that_is_read_slowly_arrives_whole():
    async def attempt(seconds: float) -> None:
        async with (
            http(dim=65536, stalled_seconds=seconds) as fake,
            connection(fake.server.http_port) as (reader, writer),
        ):
            body = b'{"input": ["a","a","a","a","a","a","a","a"]}'
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].split()[0])
            assert left > 4_000_000
            while left:
                part = await reader.read(400_000)
                assert part
                left -= len(part)
                await asyncio.sleep(seconds / 10)

    await with_time(attempt)


async def test_more_connections_than_allowed_get_503_and_the_open_ones_go_on():
    async with http(max_connections=2) as fake:
        port = fake.server.http_port
        async with (
            connection(port) as (reader, writer),
            connection(port),
            connection(port) as (
                refused,
                _,
            ),
        ):
            got = await until_closed(refused)
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"--max-connections" in got
            writer.write(GET)
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        connections = fake.server._http._server.server_state.connections
        await until(lambda: not connections)
        await still_answers(fake)


@pytest.mark.parametrize("headers", [b"X: " + b"x" * 20_000, b"X: x\r\n" * 5_000])
async def test_headers_beyond_16_kib_are_refused(headers: bytes):
    async with http() as fake:
        async with connection(fake.server.http_port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + headers)
            assert (await until_closed(reader)).startswith(b"HTTP/1.1 400 ")
        await still_answers(fake)


async def test_a_compressed_body_is_refused_and_not_unpacked():
    async with http() as fake, web_client.async_client() as client:
        url = f"http://127.0.0.1:{fake.server.http_port}/v1/embeddings"
        for encoding, status in (("gzip", 415), ("br", 415), ("Identity", 200)):
            headers = {"content-type": "application/json", "content-encoding": encoding}
            reply = await client.post(url, content=BODY, headers=headers)
            assert reply.status_code == status
        assert (
            "Content-Encoding"
            in (
                await client.post(
                    url,
                    content=BODY,
                    headers={"content-type": "application/json", "content-encoding": "gzip"},
                )
            ).text
        )


async def test_dead_peers_are_looked_for_by_the_kernel():
    async with (
        http() as fake,
        connection(fake.server.http_port) as (_, writer),
    ):
        connections = fake.server._http._server.server_state.connections
        await until(lambda: bool(connections))
        (one,) = connections
        accepted = one.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        writer.write(GET)


async def test_an_instruction_over_http_is_bounded_too():
    async with http() as fake, web_client.async_client() as client:
        url = f"http://127.0.0.1:{fake.server.http_port}/v1/embeddings"
        reply = await client.post(url, json={"input": "a", "instruction": "i" * 9000})
        assert reply.status_code == 400
        assert "say the task in a sentence" in reply.text
