"""Loading, serving, draining; clients that leave, and answers that are large."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading

import httpx
import numpy as np
import pytest

from qwire_server.errors import StartError
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support import web_client
from support.machine_speed import hang_limit
from support.runners import FakeRunner
from support.serving import Recorder, Running, fake_model, fake_serving, until

PATH = "/v1/embeddings"


def settings(**chosen) -> Settings:
    return Settings(**{"model": "demo", "grpc_port": 0, "http_port": 0, **chosen})


def client_of(server: Server) -> httpx.AsyncClient:
    return web_client.async_client(base_url=f"http://127.0.0.1:{server.http_port}")


def held(running: Running) -> FakeRunner:
    """The model, which does nothing until its gate is set."""
    assert running.runner
    running.runner.gate.clear()
    return running.runner


async def entered(runner: FakeRunner) -> None:
    await asyncio.to_thread(runner.entered.acquire)


async def test_while_the_model_loads_health_says_so_and_routes_are_503():
    loading = threading.Event()

    def load(_: Settings):
        assert loading.wait(hang_limit(10))
        return fake_model(FakeRunner())

    server = Server(settings(), Recorder(), load)
    starting = asyncio.ensure_future(server.start())
    await until(lambda: server.http_port > 0)
    async with client_of(server) as client:
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "loading")
        assert "loading" in ready.json()["reason"]
        assert (await client.get("/")).status_code == 200
        assert "qwire_ready 0.0" in (await client.get("/metrics")).text
        for path, body in ((PATH, {"input": "a"}), ("/embed", {"inputs": "a"})):
            refused = await client.post(path, json=body)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert "loading" in refused.text
        models = await client.get("/v1/models")
        assert models.status_code == 503
        assert models.headers["retry-after"]
        loading.set()
        await starting
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        assert (await client.get("/health")).status_code == 200
        assert (await client.post(PATH, json={"input": "a"})).status_code == 200
        assert "qwire_ready 1.0" in (await client.get("/metrics")).text
    await server.stop()


async def test_a_stopping_server_says_so_and_answers_what_is_open():
    """Probes still reach it: the port closes with the last answer."""
    async with fake_serving({"http_port": 0}) as running, client_of(running.server) as client:
        runner = held(running)
        asked = asyncio.ensure_future(client.post(PATH, json={"input": "a"}))
        await entered(runner)
        stopping = asyncio.ensure_future(running.server.stop())
        await until(lambda: "stopping" in repr(running.server))
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert (await client.get("/health/live")).status_code == 200
        refused = await client.post(PATH, json={"input": "b"})
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert not stopping.done()
        runner.gate.set()
        assert (await asked).status_code == 200
        await stopping
        with pytest.raises(httpx.ConnectError):
            await client.get("/health/live")


async def test_what_is_open_after_the_drain_time_is_cut():
    async with (
        fake_serving({"http_port": 0, "drain_seconds": 0.1}) as running,
        client_of(running.server) as client,
    ):
        runner = held(running)
        asked = asyncio.ensure_future(client.post(PATH, json={"input": "a"}))
        await entered(runner)
        stopping = asyncio.ensure_future(running.server.stop())
        reply = await asked
        assert reply.status_code == 503
        assert "stopped before" in reply.json()["error"]["message"]
        runner.gate.set()
        await stopping
        assert running.server.open_calls == 0


async def test_a_client_that_leaves_takes_its_work_with_it():
    """What was not in a batch yet is never computed, and its room is free again."""
    async with fake_serving({"http_port": 0}) as running, client_of(running.server) as client:
        runner = held(running)
        first = asyncio.ensure_future(client.post(PATH, json={"input": "first"}))
        await entered(runner)
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json={"input": ["second"] * 7}, timeout=0.2)
        await until(lambda: any(r.code == "CANCELLED" for r in running.observer.requests))
        runner.gate.set()
        assert (await first).status_code == 200
        assert (await client.post(PATH, json={"input": "third"})).status_code == 200
        assert [len(batch) for batch in runner.batches] == [1, 1]
        assert running.server.open_calls == 0


async def test_a_deadline_is_504_in_time():
    async with fake_serving({"http_port": 0}) as running, client_of(running.server) as client:
        runner = held(running)
        reply = await client.post(PATH, json={"input": "a"}, headers={"x-qwire-timeout": "0.2"})
        assert reply.status_code == 504
        assert reply.json()["error"]["code"] == "deadline_exceeded"
        runner.gate.set()


async def test_a_large_reply_leaves_turns_to_others():
    """While one is written as JSON, many others are answered."""
    async with (
        fake_serving({"http_port": 0}, dim=2048, max_texts=400, batch_tokens=4096) as running,
        client_of(running.server) as client,
    ):
        large = asyncio.ensure_future(
            client.post(
                PATH,
                json={"input": ["a"] * 400, "encoding_format": "float"},
                timeout=hang_limit(60),
            )
        )
        await until(lambda: bool(running.observer.batches))
        answered = 0
        while not large.done():
            answered += (await client.get("/health/live")).status_code == 200
        assert answered >= 3
        data = large.result().json()["data"]
        assert len(data) == 400
        assert data[-1]["index"] == 399
        rows = np.array([data[0]["embedding"], data[399]["embedding"]], np.float32)
        np.testing.assert_array_equal(rows, await running.embed("a", "a"))


async def test_a_taken_port_is_an_error_that_names_the_flag():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        server = Server(settings(http_port=taken), Recorder(), lambda _: fake_model(FakeRunner()))
        with pytest.raises(StartError, match="--http-port") as refusal:
            await server.start()
    assert str(taken) in str(refusal.value)
    assert "off" in str(refusal.value)


async def test_off_opens_no_port_and_localhost_opens_one_on_each_family():
    async with fake_serving({"http_port": "off"}) as running:
        assert running.server.http_port == 0
    both = fake_serving({"http_port": 0, "host": "localhost"})
    async with both as running, client_of(running.server) as client:
        assert (await client.get("/health/live")).status_code == 200


async def test_signals_stay_the_servers_business():
    """Uvicorn would take them, and stop by itself."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with fake_serving({"http_port": 0}):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_an_unforeseen_error_is_500_without_its_text(monkeypatch: pytest.MonkeyPatch):
    """It may hold the caller's; the log has it, beside the request id."""
    async with fake_serving({"http_port": 0}) as running, client_of(running.server) as client:
        embedder = running.server._gate.embedder()

        async def fail(*_):
            raise ValueError("secret-text")

        monkeypatch.setattr(embedder, "embed", fail)
        reply = await client.post(PATH, json={"input": "a"}, headers={"x-request-id": "r-9"})
    assert reply.status_code == 500
    assert "r-9" in reply.json()["error"]["message"]
    assert "secret" not in reply.text
    assert running.observer.requests[-1].code == "INTERNAL"


async def test_what_the_model_cannot_do_is_an_error_of_the_server():
    async with fake_serving({"http_port": 0}) as running, client_of(running.server) as client:
        assert running.runner

        def fail(_):
            raise RuntimeError("boom")

        running.runner.fails = fail
        assert (await client.post(PATH, json={"input": "a"})).status_code == 500
        tei = await client.post("/embed", json={"inputs": "a"})
        assert (tei.status_code, tei.json()["error_type"]) == (424, "backend")
