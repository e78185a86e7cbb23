"""How busy a server says it is."""

from __future__ import annotations

import asyncio

import grpc
import pytest

import qwire
from qwire.v1 import embedding_pb2 as pb
from support.machine_speed import hang_limit
from support.patience import with_time
from support.serving import Running, fake_serving, until


async def stats(running: Running) -> pb.StatsResponse:
    return await running.stub.Stats(pb.StatsRequest())


async def test_what_waits_is_told_by_class_and_client():
    async with fake_serving() as fake:
        fake.runner.gate.clear()
        busy = asyncio.ensure_future(fake.embed("first"))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        question = asyncio.ensure_future(fake.embed("a", "b"))
        job = asyncio.ensure_future(fake.embed("c", "d", "e", request_class=2))
        await until(lambda: "interactive 2, bulk 3" in repr(fake.server))
        seen = await stats(fake)
        assert (seen.interactive.texts_waiting, seen.bulk.texts_waiting) == (2, 3)
        assert seen.interactive.held_seconds > 0
        assert seen.bulk.oldest_seconds > 0
        assert seen.clients_active == 1
        by_class = {client.request_class: client for client in seen.clients}
        assert by_class[pb.REQUEST_CLASS_BULK].held_seconds == seen.bulk.held_seconds
        fake.runner.gate.set()
        await asyncio.gather(busy, question, job)
        after = await stats(fake)
        assert (after.interactive.held_seconds, after.bulk.held_seconds) == (0, 0)
        assert (after.texts, after.calls["OK"], after.clients_active) == (6, 4, 0)
        assert 0 < after.bulk_tokens < after.tokens
        assert after.busy_seconds > 0


async def test_refusals_deadlines_and_cancels_are_counted():
    async def attempt(seconds: float) -> None:
        async with fake_serving({"queue_seconds": 3e-4, "waiting_requests": 1}) as fake:
            fake.runner.gate.clear()
            busy = asyncio.ensure_future(fake.embed("w " * 20))
            assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
            late = fake.stub.Embed(pb.EmbedRequest(texts=["late"]), timeout=seconds)
            gone = fake.stub.Embed(pb.EmbedRequest(texts=["gone"]))
            await waiting(fake, 2)
            gone.cancel()
            big = asyncio.ensure_future(fake.embed(*["word " * 100] * 3))
            await waiting(fake, 5)
            patient = asyncio.ensure_future(fake.embed("y"))
            await until(lambda: "1 wait" in repr(fake.server._gate.embedder()))
            results = await asyncio.gather(late, gone, fake.embed("x"), return_exceptions=True)
            assert all(isinstance(result, BaseException) for result in results)
            fake.runner.gate.set()
            await asyncio.gather(busy, big, patient)
            await until(lambda: len(fake.observer.requests) == 6)
            seen = await stats(fake)
            assert dict(seen.failures) == {"OVERLOADED": 1, "DEADLINE_EXCEEDED": 1}
            assert seen.calls["CANCELLED"] == 1

    async def waiting(fake: Running, texts: int) -> None:
        await asyncio.wait_for(
            until(lambda: f"interactive {texts}" in repr(fake.server)), hang_limit(5)
        )

    await with_time(attempt)


async def test_streams_of_a_client_are_bounded_by_its_quota():
    async with fake_serving({"client_streams": 1}) as fake:
        first = fake.stub.EmbedStream()
        await first.write(pb.EmbedStreamRequest(ids=[1], texts=["a"]))
        assert list((await first.read()).ids) == [1]
        async with qwire.AsyncClient(f"127.0.0.1:{fake.server.port}", max_attempts=1) as client:
            with pytest.raises(qwire.QuotaExceededError, match="at most 1 may be") as error:
                async for _ in client.embed_stream(["b"]):
                    pass
            assert error.value.retry_after == 1.0
        await first.done_writing()
        while await first.read() is not grpc.aio.EOF:
            pass
        assert await fake.embed("after") is not None


async def test_a_client_that_used_its_tokens_is_told_when_to_come_back():
    async with fake_serving({"client_tokens_per_minute": 10}) as fake:
        await fake.embed("word " * 40)
        async with qwire.AsyncClient(f"127.0.0.1:{fake.server.port}", max_attempts=1) as client:
            with pytest.raises(qwire.QuotaExceededError, match="10 tokens a minute") as error:
                await client.embed(["a"])
            assert error.value.retry_after > 60


async def test_both_clients_read_the_same_figures():
    async with fake_serving() as fake:
        await fake.embed("a")
        target = f"127.0.0.1:{fake.server.port}"
        async with qwire.AsyncClient(target) as client:
            theirs = await client.stats()

        def sync() -> qwire.Stats:
            with qwire.Client(target) as client:
                return client.stats()

        ours = await asyncio.to_thread(sync)
        assert (ours.texts, theirs.texts) == (1, 1)
        assert theirs.calls == {"OK": 1}
        assert ours.queue_seconds == 10
