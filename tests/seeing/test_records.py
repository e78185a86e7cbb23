"""What an observer is told: where the time of a call went, and what a batch took."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from qwire.v1 import embedding_pb2 as pb
from qwire_server.engine.arithmetic import Arithmetic
from qwire_server.engine.observer import AnswerRecord
from qwire_server.model.errors import OutOfMemory
from support.machine_speed import hang_limit
from support.serving import FAKE_ID, Running, fake_serving, until

STAGES = ("tokenize_seconds", "queue_seconds", "compute_seconds", "reply_seconds")


def stages(record: object) -> list[float]:
    return [getattr(record, name) for name in STAGES]


async def stream(running: Running, *texts: str) -> None:
    """One stream with all texts in one message."""
    call = running.stub.EmbedStream()
    await call.write(pb.EmbedStreamRequest(ids=range(len(texts)), texts=texts))
    await call.done_writing()
    async for _ in call:
        pass


async def test_a_request_tells_model_class_and_where_its_time_went():
    async with fake_serving() as fake:
        await fake.embed("a", "w " * 200, request_class=2)
        await until(lambda: len(fake.observer.requests) == 1)
        (request,) = fake.observer.requests
        (answer,) = fake.observer.answers
    assert (request.model, request.request_class) == (FAKE_ID, "bulk")
    assert (answer.model, answer.request_class, answer.texts) == (FAKE_ID, "bulk", 2)
    assert (answer.cut_texts, answer.cut) == (1, request.cut)
    assert stages(request) == stages(answer)
    assert all(seconds >= 0 for seconds in stages(request))
    assert request.compute_seconds > 0
    assert sum(stages(request)) <= request.seconds


async def test_waiting_for_a_batch_is_queueing():
    async with fake_serving() as fake:
        fake.runner.gate.clear()
        first = asyncio.ensure_future(fake.embed("first"))
        assert await asyncio.to_thread(fake.runner.entered.acquire, timeout=hang_limit(5))
        second = asyncio.ensure_future(fake.embed("second"))
        await until(lambda: "interactive 1" in repr(fake.server))
        await asyncio.sleep(0.1)
        fake.runner.gate.set()
        await asyncio.gather(first, second)
        await until(lambda: len(fake.observer.answers) == 2)
        in_batch, waited = fake.observer.answers
    assert in_batch.compute_seconds >= 0.1
    assert waited.queue_seconds >= 0.1


async def test_a_stream_tells_each_answer_as_it_is_written_and_the_sums_at_its_end():
    async with fake_serving() as fake:
        await stream(fake, "a", "w " * 200, "w" * 5000)
        await until(lambda: len(fake.observer.requests) == 1)
        (request,) = fake.observer.requests
        answers = fake.observer.answers
    assert sum(answer.texts for answer in answers) == 3
    assert [answer.errors for answer in answers if answer.errors] == [("TEXT_TOO_LARGE",)]
    assert sum(answer.cut_texts for answer in answers) == 1
    assert (request.failed, request.code, request.request_class) == (1, "OK", "bulk")
    totals = [sum(times) for times in zip(*map(stages, answers), strict=True)]
    assert stages(request) == pytest.approx(totals)


async def test_a_call_that_is_refused_has_no_answer_and_no_model():
    async with fake_serving() as fake:
        with pytest.raises(Exception, match="not served here"):
            await fake.embed("a", model="x")
        await until(lambda: len(fake.observer.requests) == 1)
        assert fake.observer.requests[0].model == ""
        assert fake.observer.answers == list[AnswerRecord]()


async def test_a_batch_tells_rows_that_are_not_finite_and_texts_run_again():
    async with fake_serving() as fake:
        rows = fake.runner.run

        def broken(token_ids):
            made = rows(token_ids)
            made[0, 0] = np.nan
            return made

        fake.runner.run = broken
        with pytest.raises(Exception, match="not finite"):
            await fake.embed("a")
        fake.runner.run = rows

        def fails(token_ids):
            if len(token_ids) == 3:
                raise OutOfMemory("the test's")

        fake.runner.fails = fails
        await fake.embed("a", "b", "c")
        first, second = fake.observer.batches
    assert (first.failed, first.not_finite) == (1, 1)
    assert (second.failed, second.splits, second.retried) == (0, 1, 3)


def test_arithmetic_counts_weights_for_each_token_and_pairs_of_tokens():
    model = Arithmetic(per_token=10, per_square=0.5)
    assert model.flops([2, 4]) == 10 * 6 + 0.5 * (4 + 16)


def test_what_was_known_of_a_text_is_not_counted():
    """Its first tokens, and the pairs among them; later tokens still look at them."""
    model = Arithmetic(per_token=10, per_square=0.5)
    assert model.flops([4, 4], [3, 0]) == 10 * (1 + 4) + 0.5 * (16 - 9 + 16)
