"""Requests as other programs write them: HEAD, absolute targets, connections that stay open."""

from __future__ import annotations

import asyncio
import socket

import pytest

from qwire_server.api.http.protocol import LimitedProtocol
from support import web_client
from support.sockets import connection
from support.web_front import Front, front

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"input":"a"}'
POST = (
    b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/health/live", "/health/ready", "/metrics", "/info", "/", "/docs"),
        *("/v1/models", "/models", "/v1/models/fake-embedding-0.1b", "/models/x", "/app.js"),
        "/openapi.json",
    ],
)
def test_head_works_wherever_get_does(web: Front, path: str):
    """With the same status and type, and no body; `wget --spider` and monitors ask so."""
    got, head = web_client.get(web.url + path), web_client.head(web.url + path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # its numbers grow
        assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


def test_head_is_refused_where_get_is(web: Front):
    assert web_client.head(f"{web.url}/v1/embeddings").status_code == 405
    assert web_client.head(f"{web.url}/nothing").status_code == 404


def exchange(web: Front, request: bytes) -> bytes:
    """The beginning of what is answered."""
    with socket.create_connection(("127.0.0.1", web.server.http_port), timeout=30) as one:
        one.sendall(request)
        return one.recv(65536)


@pytest.mark.parametrize(
    "target", [b"http://localhost:1/v1/embeddings", b"HTTP://127.0.0.1/v1/embeddings?a=b"]
)
def test_a_target_may_name_the_server_too(web: Front, target: bytes):
    """RFC 9112, 3.2.2: a server must accept it, and use its host in place of the header's."""
    request = POST % (target, b"evil.example.org") + BODY
    assert exchange(web, request).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [b"http://localhost", b"https://localhost/", b"http://[::1]:9"])
def test_a_target_without_a_path_is_the_root(web: Front, target: bytes):
    assert exchange(web, GET.replace(b"/health/live", target)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", [b"evil.example.org", b"localhost@evil.example.org", b""])
def test_the_host_of_a_target_is_checked_as_the_header_is(web: Front, host: bytes):
    request = GET.replace(b"/health/live", b"http://%b/health/live" % host)
    assert exchange(web, request).startswith(b"HTTP/1.1 403 ")


def test_paths_are_there_without_v1(web: Front):
    sent = {"input": ["a"]}
    with web_client.client(base_url=web.url) as client:
        assert client.post("/embeddings", json=sent).json() == (
            client.post("/v1/embeddings", json=sent).json()
        )
        assert client.get("/models").json() == client.get("/v1/models").json()
        name = "/models/fake-embedding-0.1b"
        assert client.get(name).json() == client.get("/v1" + name).json()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    return head + await reader.readexactly(length)


async def test_a_connection_stays_open_between_requests_as_long_as_the_setting_says():
    """Longer than a request may take to arrive: that clock runs from its first byte only."""
    with front({"http_keep_alive_seconds": 600, "http_request_seconds": 0.2}) as web:
        async with connection(web.server.http_port) as (reader, writer):
            for _ in range(3):
                writer.write(GET)
                assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
                await asyncio.sleep(0.5)
            writer.write(GET[:10])
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 408 ")
            assert await reader.read() == b""


async def test_a_connection_that_is_idle_for_longer_is_closed_without_a_word():
    with front({"http_keep_alive_seconds": 0.2}) as web:
        async with connection(web.server.http_port) as (reader, writer):
            writer.write(GET)
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
            assert await reader.read() == b""


async def test_a_connection_that_never_asked_anything_has_the_time_of_a_request():
    with front({"http_keep_alive_seconds": 600, "http_request_seconds": 0.2}) as web:
        async with connection(web.server.http_port) as (reader, _):
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_in_chunks_of_a_byte_leaves_turns_to_others():
    """HTTP's own parser takes 14 us for each: it is given few of them at a time."""
    with front({"http_request_seconds": 600}) as web:
        port = web.server.http_port
        head = (
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        body = b'{"input":"%b"}' % (b"a" * 50_000)
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        reads: list[int] = []
        parse = LimitedProtocol.data_received

        def counted(protocol: LimitedProtocol, data: bytes) -> None:
            reads.append(len(data))
            parse(protocol, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LimitedProtocol, "data_received", counted)
            async with connection(port) as (reader, writer):
                writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
                answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"a text has 50000 bytes" in answer
        assert max(reads) <= 16 * 1024
        assert sum(reads) >= len(chunks)


async def test_requests_behind_each_other_are_answered_in_turn():
    """Many more than are parsed at once, in one write; none is lost, and the last is whole."""
    with front({}) as web:
        async with connection(web.server.http_port) as (reader, writer):
            writer.write(POST % (b"/v1/embeddings", b"localhost") + BODY)
            writer.write(GET * 2000 + POST % (b"/v1/embeddings", b"localhost") + BODY)
            assert b'"embedding"' in await read_answer(reader)
            for _ in range(2000):
                assert (await read_answer(reader)).endswith(b'{"status":"alive"}')
            assert b'"embedding"' in await read_answer(reader)


async def test_a_large_body_arrives_whole_however_it_is_cut():
    with front({}, max_texts=2048, request_tokens=10**5) as web:
        text = b"\r\n".join([b'{"input":["a"', *[b',"a"'] * 2047, b"]}"])
        head = (
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        async with connection(web.server.http_port) as (reader, writer):
            padded = text + b" " * 1_000_000
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(padded))
            for start in range(0, len(padded), 70_001):
                writer.write(padded[start : start + 70_001])
                await asyncio.sleep(0)
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
