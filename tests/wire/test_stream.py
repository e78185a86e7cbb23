"""`EmbedStream` on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
import numpy as np
import pytest

from qwire.v1 import embedding_pb2 as pb
from qwire_server.api.call import Call, Options
from qwire_server.api.flow import Flow
from qwire_server.engine.work import RequestClass
from qwire_server.load import LoadedModel
from qwire_server.model.errors import DeviceLost
from support import local
from support.machine_speed import hang_limit
from support.models import QUERY_PROMPT
from support.patience import with_time
from support.runners import DIM
from support.serving import Running, fake_serving, rows_of, serving, until
from support.texts import HARD


def message(texts: Iterable[str], first: int = 0, **options: object) -> pb.EmbedStreamRequest:
    texts = list(texts)
    return pb.EmbedStreamRequest(
        ids=range(first, first + len(texts)),
        texts=texts,
        options=pb.EmbedOptions(**options) if options else None,
    )


async def replies(call, *messages: pb.EmbedStreamRequest) -> list[pb.EmbedStreamResponse]:
    """Send messages, half-close, read to the end."""
    for sent in messages:
        await call.write(sent)
    await call.done_writing()
    return [reply async for reply in call]


def rows_by_id(got: list[pb.EmbedStreamResponse]) -> dict[int, np.ndarray]:
    by_id: dict[int, np.ndarray] = {}
    for reply in got:
        if reply.ids:
            assert len(reply.usage.tokens) == len(reply.ids)
            new = dict(zip(reply.ids, rows_of(reply.vectors), strict=True))
            assert not new.keys() & by_id.keys(), "a text was answered twice"
            by_id |= new
    return by_id


def errors_by_id(got: list[pb.EmbedStreamResponse]) -> dict[int, str]:
    return {e.id: pb.ErrorCode.Name(e.code) for reply in got for e in reply.errors}


async def test_every_text_is_answered_once_with_its_own_vector(qwen: Running, tiny: LoadedModel):
    texts = HARD * 10
    messages = [message(texts[i : i + 7], first=i) for i in range(0, len(texts), 7)]
    rows = rows_by_id(await replies(qwen.stub.EmbedStream(), *messages))
    assert set(rows) == set(range(len(texts)))
    expected = np.tile(local.embed(tiny, HARD), (10, 1))
    np.testing.assert_allclose([rows[i] for i in range(len(texts))], expected, atol=1e-5)


async def test_the_first_reply_names_model_and_fingerprint(fake: Running):
    got = await replies(fake.stub.EmbedStream(), message(["a"]), message(["b"], first=1))
    assert (got[0].model, got[0].fingerprint) == ("Acme/Fake-Embedding-0.1B", "f1")
    assert all(not reply.fingerprint for reply in got[1:])


async def test_single_text_messages_are_legal(fake: Running):
    messages = [message([f"text {i}"], first=i) for i in range(50)]
    assert len(rows_by_id(await replies(fake.stub.EmbedStream(), *messages))) == 50


async def test_an_empty_stream_and_empty_messages_end_well(fake: Running):
    assert await replies(fake.stub.EmbedStream()) == []
    assert await replies(fake.stub.EmbedStream(), message([]), message([])) == []


async def test_options_hold_until_other_options_come(qwen: Running, tiny: LoadedModel):
    got = await replies(
        qwen.stub.EmbedStream(),
        message(["text"], first=0),
        message(["text"], first=1, input_type="INPUT_TYPE_QUERY", dimensions=32),
        message(["text"], first=2),
    )
    rows = rows_by_id(got)
    plain = local.embed(tiny, ["text"])
    asked = local.embed(tiny, ["text"], prompt=QUERY_PROMPT, dimensions=32)
    np.testing.assert_allclose(rows[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(rows[1], asked[0], atol=1e-6)
    np.testing.assert_allclose(rows[2], asked[0], atol=1e-6)


async def test_a_bad_text_is_an_error_of_that_text_and_the_stream_goes_on(fake: Running):
    texts = ["a", "x" * 5000, "w " * 400, "b"]
    got = await replies(
        fake.stub.EmbedStream(), message(texts, truncate=3), message(["c"], first=4)
    )
    assert errors_by_id(got) == {1: "TEXT_TOO_LARGE", 2: "TEXT_TOO_LONG"}
    assert set(rows_by_id(got)) == {0, 3, 4}


async def test_a_text_on_which_the_model_fails_is_an_error_of_that_text(fake: Running):
    def fails_on_four(batch) -> None:
        if any(len(ids) == 4 for ids in batch):
            raise ValueError

    fake.runner.fails = fails_on_four
    got = await replies(fake.stub.EmbedStream(), message(["a", "1 2", "b"]))
    assert errors_by_id(got) == {1: "MODEL_FAILED"}
    assert set(rows_by_id(got)) == {0, 2}


async def test_a_lost_device_answers_every_text_of_the_stream(fake: Running):
    def lost(_: object) -> None:
        raise DeviceLost("gone")

    fake.runner.fails = lost
    got = await replies(fake.stub.EmbedStream(), message(["a", "b"]))
    assert errors_by_id(got) == {0: "UNAVAILABLE", 1: "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("bad", "code", "said"),
    [
        (pb.EmbedStreamRequest(ids=[1, 2], texts=["a"]), "INVALID_REQUEST", "2 ids for 1 texts"),
        (message(["a"], dimensions=1000), "INVALID_DIMENSIONS", "2 to 8"),
        (message(["a"], expected_fingerprint="other"), "FINGERPRINT_MISMATCH", "'other'"),
        (message(["w " * 500], instruction="i " * 300), "INVALID_REQUEST", "instruction takes"),
    ],
)
async def test_a_message_that_fits_no_text_ends_the_stream_with_its_status(
    fake: Running, bad, code, said
):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await replies(fake.stub.EmbedStream(), bad)
    assert dict(caught.value.trailing_metadata())["qwire-error-code"] == code
    assert said in caught.value.details()


async def test_the_server_reads_no_further_while_too_much_is_in_flight():
    """16 KiB of HTTP/2 window are read ahead by gRPC itself; the server must stay far below all."""
    async with fake_serving(stream_tokens=400) as fake:
        fake.runner.gate.clear()
        call = fake.stub.EmbedStream()

        async def send() -> None:
            for i in range(400):
                await call.write(message(["word " * 100], first=i))
            await call.done_writing()

        sending = asyncio.ensure_future(send())
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        flow_texts: list[int] = []
        for _ in range(20):
            await asyncio.sleep(0.01)
            flow_texts.append(_received(fake))
        assert flow_texts[-1] == flow_texts[-5] <= 5  # 100 tokens each, at most 400 in flight
        fake.runner.gate.set()
        assert len(rows_by_id([reply async for reply in call])) == 400
        await sending


def _received(fake: Running) -> int:
    """Texts that the engine holds or has run."""
    waiting = int(repr(fake.server).split("bulk ")[1].split(">")[0])
    return waiting + sum(len(batch) for batch in fake.runner.batches)


async def test_a_client_that_does_not_read_is_not_read_from():
    """Replies that are not taken stay in flight, so memory stays flat on both sides."""
    async with fake_serving(stream_tokens=300, batch_tokens=64, dim=1024) as fake:
        call = fake.stub.EmbedStream()
        texts = ["a"] * 30_000  # 120 MB of rows

        async def send() -> None:
            for i in range(0, len(texts), 10):
                await call.write(message(texts[i : i + 10], first=i))
            await call.done_writing()

        sending = asyncio.ensure_future(send())
        await until(lambda: len(fake.runner.batches) > 20)
        count = -1
        while count != len(fake.runner.batches):
            count = len(fake.runner.batches)
            await asyncio.sleep(0.3)
        assert count < len(texts) / 2
        call.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: "works 0" in repr(fake.server))


async def test_a_chunk_far_larger_than_window_and_queue_is_answered_in_full():
    async with fake_serving(
        {"queue_seconds": 3e-4}, stream_tokens=200, max_text_bytes=10**6
    ) as fake:
        texts = [f"word {i} " * 30 for i in range(300)]
        got = await replies(fake.stub.EmbedStream(), message(texts))
        assert set(rows_by_id(got)) == set(range(300))


async def test_questions_are_answered_while_a_stream_has_the_queue_full():
    async with fake_serving({"queue_seconds": 1e-3}, stream_tokens=5000, batch_tokens=100) as fake:
        fake.runner.gate.clear()
        call = fake.stub.EmbedStream()
        texts = [f"{i} " + "word " * 60 for i in range(200)]
        reading = asyncio.ensure_future(replies(call, message(texts)))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        question = asyncio.ensure_future(fake.embed("a question"))
        await until(lambda: "interactive 1" in repr(fake.server))
        fake.runner.gate.set()
        assert (await question).shape == (1, DIM)
        assert len(fake.runner.batches) < 10
        assert len(rows_by_id(await reading)) == 200


@pytest.mark.parametrize(
    ("asked", "is_heeded"), [("100", True), ("1", True), ("-5", False), ("soon", False)]
)
async def test_a_client_says_how_often_it_wants_signs_of_life(asked, is_heeded):
    async with fake_serving(alive_seconds=3600) as fake:
        fake.runner.gate.clear()
        call = fake.stub.EmbedStream(metadata=[("qwire-alive-ms", asked)])
        await call.write(message(["a"]))
        first = asyncio.ensure_future(call.read())
        await asyncio.wait([first], timeout=None if is_heeded else 0.3)
        assert first.done() == is_heeded
        fake.runner.gate.set()
        assert (await first).notice == (pb.NOTICE_ALIVE if is_heeded else pb.NOTICE_UNSPECIFIED)
        await call.done_writing()


async def test_alive_is_told_while_work_is_in_flight_and_only_then():
    async with fake_serving(alive_seconds=0.05) as fake:
        fake.runner.gate.clear()
        call = fake.stub.EmbedStream()
        await call.write(message(["a"]))
        for _ in range(3):
            assert (await call.read()).notice == pb.NOTICE_ALIVE
        fake.runner.gate.set()
        while (reply := await call.read()).notice == pb.NOTICE_ALIVE:
            pass
        assert list(reply.ids) == [0]
        quiet = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.3)
        assert not quiet.done()
        await call.done_writing()
        assert await quiet is grpc.aio.EOF


async def test_a_stream_that_is_cancelled_frees_what_it_held(fake: Running):
    fake.runner.gate.clear()
    call = fake.stub.EmbedStream()
    for i in range(30):
        await call.write(message(["word " * 20] * 5, first=i * 5))
    assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
    call.cancel()
    await until(lambda: bool(fake.observer.requests))
    assert fake.observer.requests[0].code == "CANCELLED"
    batches = len(fake.runner.batches)
    fake.runner.gate.set()
    await fake.embed("after")
    assert len(fake.runner.batches) == batches + 1
    await until(lambda: "<Admission 0.000 of" in repr(fake.server._gate.embedder()))


async def test_a_chunk_that_is_dropped_before_it_was_begun_gives_its_place_back(fake: Running):
    embedder = fake.server._gate.embedder()
    call = Call("EmbedStream", "r", "c", float("inf"), RequestClass.BULK)
    flow = Flow(embedder, call)
    await flow.put([1], ["a"], Options())
    await flow.close(asyncio.ensure_future(asyncio.sleep(0)))
    assert "<Admission 0.000 of" in repr(embedder)


async def test_many_streams_and_questions_at_once_lose_nothing(qwen: Running, tiny: LoadedModel):
    expected = local.embed(tiny, HARD)

    async def stream(offset: int) -> None:
        texts = [HARD[(offset + i) % len(HARD)] for i in range(100)]
        messages = [message(texts[i : i + 9], first=i) for i in range(0, 100, 9)]
        rows = rows_by_id(await replies(qwen.stub.EmbedStream(), *messages))
        want = [expected[(offset + i) % len(HARD)] for i in range(100)]
        np.testing.assert_allclose([rows[i] for i in range(100)], want, atol=1e-5)

    async def question(i: int) -> None:
        row = await qwen.embed(HARD[i % len(HARD)])
        np.testing.assert_allclose(row[0], expected[i % len(HARD)], atol=1e-5)

    await asyncio.gather(*(stream(i) for i in range(8)), *(question(i) for i in range(40)))


async def test_a_stream_is_one_observed_request(fake: Running):
    await replies(fake.stub.EmbedStream(), message(["a", "b"]), message(["c"], first=2))
    await until(lambda: bool(fake.observer.requests))
    record = fake.observer.requests[0]
    assert (record.method, record.request_class, record.code) == ("EmbedStream", "bulk", "OK")
    assert (record.texts, record.tokens) == (3, 6)


class TestDraining:
    """SIGTERM as the streams see it; the signal itself is tested with processes."""

    async def test_a_stream_is_told_and_read_until_its_half_close(self, tiny: LoadedModel):
        async with serving(lambda _: tiny, drain_seconds=hang_limit(50)) as running:
            call = running.stub.EmbedStream()
            await call.write(message(["before"]))
            assert list((await call.read()).ids) == [0]
            stopping = asyncio.ensure_future(running.server.stop())
            assert (await call.read()).notice == pb.NOTICE_DRAINING
            await call.write(message(["after the notice"], first=1))
            assert list((await call.read()).ids) == [1]
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            await asyncio.wait_for(stopping, hang_limit(25))

    async def test_accepted_unary_calls_are_answered_and_new_ones_refused(self):
        async with fake_serving() as fake:
            fake.runner.gate.clear()
            accepted = asyncio.ensure_future(fake.embed("accepted"))
            assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
            stopping = asyncio.ensure_future(fake.server.stop())
            await until(lambda: not fake.server._gate.is_serving)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await fake.embed("too late")
            # gRPC itself may end it, with a status of its own.
            refused = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
            assert caught.value.code() in refused
            fake.runner.gate.set()
            assert (await accepted).shape == (1, DIM)
            await stopping

    async def test_a_stream_that_never_ends_is_cut_after_the_drain_time(
        self, caplog: pytest.LogCaptureFixture
    ):
        async def attempt(seconds: float) -> None:
            async with fake_serving({"drain_seconds": seconds}) as fake:
                call = fake.stub.EmbedStream()
                await call.write(message(["a"]))
                assert list((await call.read()).ids) == [0]
                await asyncio.wait_for(fake.server.stop(), 10 * seconds)
                assert f"1 calls were cut after {seconds:g} s" in caplog.text

        await with_time(attempt, seconds=(0.3, 1, 3))


async def test_a_corpus_streams_in_flat_memory(fake: Running):
    """20,000 texts through a window of 1,024 tokens, which are estimated until they are counted.

    A token costs a microsecond at first, and at most 20 once the server has learned what it costs.
    """
    call = fake.stub.EmbedStream()
    held: list[int] = []

    async def send() -> AsyncIterator[None]:
        for i in range(0, 20_000, 64):
            await call.write(message([f"t {j}" for j in range(i, min(i + 64, 20_000))], first=i))
            held.append(fake.server._gate.embedder().room.admission.held)
        await call.done_writing()

    sending = asyncio.ensure_future(send())
    count = 0
    async for reply in call:
        count += len(reply.ids)
    await sending
    assert count == 20_000
    assert max(held) <= 4 * 1024 * 20
