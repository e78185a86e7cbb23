"""Health, readiness, reflection."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire_server.api.rpc.guard import ascii_line
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support.machine_speed import hang_limit
from support.runners import FakeRunner
from support.serving import Recorder, Running, fake_model

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Request = health_pb2.HealthCheckRequest


@pytest.mark.parametrize("service", ["", "qwire.v1.Embedding"])
async def test_a_ready_server_is_serving(fake: Running, service: str):
    health = health_pb2_grpc.HealthStub(fake.channel)
    check = health.Check(Request(service=service))
    assert (await check).status == SERVING
    assert not await check.trailing_metadata()


async def test_an_unknown_service_is_not_found(fake: Running):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_pb2_grpc.HealthStub(fake.channel).Check(Request(service="nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_while_the_model_loads_the_port_answers_and_says_not_serving():
    loading = threading.Event()
    loaded = fake_model(FakeRunner())

    def load(_: Settings):
        assert loading.wait(hang_limit(50))
        return loaded

    server = Server(
        Settings(model="demo", grpc_port=0, drain_seconds=hang_limit(50)), Recorder(), load
    )
    starting = asyncio.ensure_future(server.start())
    while not server.port:
        await asyncio.sleep(0.001)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(Request())
        assert (await watch.read()).status == NOT_SERVING
        check = health.Check(Request())
        assert (await check).status == NOT_SERVING
        assert "loading" in dict(await check.trailing_metadata())["qwire-reason"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.EmbeddingStub(channel).Embed(pb.EmbedRequest(texts=["a"]))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "loading" in caught.value.details()
        loading.set()
        assert (await watch.read()).status == SERVING
        await starting
        await pb_grpc.EmbeddingStub(channel).Embed(pb.EmbedRequest(texts=["a"]))
        stopping = asyncio.ensure_future(server.stop())
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF  # a watcher does not hold the drain
        await asyncio.wait_for(stopping, hang_limit(25))


def test_a_reason_is_what_metadata_may_hold():
    """A foreign error may have lines, and any character."""
    assert ascii_line("CUDA error:\nassert\x00 in 核") == "CUDA error: assert? in ?"
    assert len(ascii_line("long" * 1000)) == 1024


async def test_reflection_lists_the_services(fake: Running):
    stub = reflection_pb2_grpc.ServerReflectionStub(fake.channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    reply = await call.read()
    names = {service.name for service in reply.list_services_response.service}
    assert {"qwire.v1.Embedding", "grpc.health.v1.Health"} <= names
