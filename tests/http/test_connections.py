"""Requests as other programs write them: HEAD, absolute targets, connections that stay open."""

from __future__ import annotations

import asyncio
import socket

import pytest

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
