"""deploy/nginx/nginx.conf in a real nginx, in front of a real server, for real clients."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

import qwire
from qwire_server.api.rpc.health import SERVICES
from support import web_client
from support.serving import fake_serving

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed (nginx-light)"),
]

CONF = Path(__file__).parents[2] / "deploy/nginx/nginx.conf"
HOST = "qwire.test"
TEXTS = [f"text {number}" for number in range(300)]


@dataclass
class Front:
    """A running nginx, and what its clients must trust."""

    port: int
    authority: bytes
    log: Path

    @property
    def tls(self) -> dict[str, object]:
        """Of a client of ours."""
        return {"ca_cert": self.authority, "server_name": HOST}

    def http(self) -> httpx.AsyncClient:
        trusted = ssl.create_default_context(cadata=self.authority.decode())
        trusted.check_hostname = False  # it is called by its address
        return web_client.async_client(base_url=f"https://127.0.0.1:{self.port}", verify=trusted)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def moved(folder: Path, changes: dict[str, str]) -> Path:
    """The configuration as it is shipped, but for places; each must be in it."""
    text = CONF.read_text("utf-8")
    for shipped, here in changes.items():
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    path = folder / "nginx.conf"
    path.write_text(text, "utf-8")
    return path


@asynccontextmanager
async def nginx(
    folder: Path, grpc_port: int, http_port: int, changes: dict[str, str]
) -> AsyncIterator[Front]:
    """Started with the shipped configuration, except for ports, certificate and `changes`."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "tls.crt", append=True)
    port = free_port()
    places = {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "127.0.0.1:50051": f"127.0.0.1:{grpc_port}",
        "127.0.0.1:8000": f"127.0.0.1:{http_port}",
        "/etc/nginx/tls": str(folder),
        "/run/nginx.pid": str(folder / "nginx.pid"),
        "worker_processes auto": "worker_processes 1",
        "client_max_body_size 16m": "client_max_body_size 1m",  # so that tests need not send much
        **changes,
    }
    conf = moved(folder, places)
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(conf)]
    log = folder / "log"
    with log.open("wb") as out:
        test = await asyncio.create_subprocess_exec(*command, "-t", stderr=out)
        assert await test.wait() == 0, log.read_text()
        process = await asyncio.create_subprocess_exec(*command, "-g", "daemon off;", stderr=out)
    try:
        await listening(port, process)
        yield Front(port, authority.cert_pem.bytes(), log)
    finally:
        process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@asynccontextmanager
async def front_of_a_server(folder: Path, **changes: str) -> AsyncIterator[Front]:
    async with (
        fake_serving({"http_port": 0}) as running,
        nginx(folder, running.server.port, running.server.http_port, changes) as started,
    ):
        yield started


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """As it is shipped."""
    async with front_of_a_server(tmp_path) as started:
        yield started


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Front]:
    """With a lower limit of requests."""
    changes = {"rate=50r/s": "rate=10r/s", "burst=100": "burst=5"}
    async with front_of_a_server(tmp_path, **changes) as started:
        yield started


async def test_grpc_unary_and_streams_go_through(front: Front):
    async with qwire.AsyncClient(f"grpcs://127.0.0.1:{front.port}", **front.tls) as client:
        assert (await client.embed(["a", "b"])).shape == (2, 8)
        assert await client.healthy()
        items = [item async for item in client.embed_stream(TEXTS, chunk_size=8)]
    assert [item.id for item in items] == list(range(len(TEXTS)))
    assert not any(item.error for item in items)


async def test_http_goes_through_but_for_metrics(front: Front):
    async with front.http() as client:
        body = {"model": "Fake-Embedding-0.1B", "input": ["a"]}
        assert (await client.post("/v1/embeddings", json=body)).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/metrics")).status_code == 404


async def test_a_body_beyond_the_servers_own_limit_is_refused_with_413(front: Front):
    async with front.http() as client:
        body = b'{"input": "' + b"x" * (2 << 20) + b'"}'
        headers = {"content-type": "application/json"}
        assert (
            await client.post("/v1/embeddings", content=body, headers=headers)
        ).status_code == 413


async def test_a_grpc_request_larger_than_that_goes_through(front: Front):
    """A stream's body has no end, so nginx must not count it; one message the server limits."""
    long = "word " * 200
    async with qwire.AsyncClient(f"grpcs://127.0.0.1:{front.port}", **front.tls) as client:
        count = 0
        async for item in client.embed_stream(long for _ in range(1500)):
            assert item.error is None
            count += 1
    assert count * len(long) > 1 << 20


async def test_too_many_requests_are_429_with_a_time_to_come_back(strict: Front):
    async with strict.http() as client:
        answers = await asyncio.gather(*(client.get("/health/live") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


async def test_our_client_rides_over_the_limit(strict: Front):
    """To gRPC a 429 without gRPC's own status is UNAVAILABLE."""
    async with qwire.AsyncClient(f"grpcs://127.0.0.1:{strict.port}", **strict.tls) as client:
        await client.embed(["a"])
        await asyncio.gather(*(client.embed(["a"]) for _ in range(20)))
    assert "limiting requests" in strict.log.read_text()


def test_every_service_of_the_server_has_its_way():
    text = CONF.read_text("utf-8")
    (packages,) = [line for line in text.splitlines() if "location ~" in line]
    for service in filter(None, SERVICES):
        package = service.rpartition(".")[0].replace(".", r"\.")
        assert package in packages
