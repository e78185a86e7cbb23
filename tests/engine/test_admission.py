"""The bound on queued work."""

from __future__ import annotations

import asyncio

import pytest

from qwire_server.api.room import Room
from qwire_server.engine.admission import Admission, Estimator
from qwire_server.errors import Overloaded, RequestTooLarge


def room(bound: int = 100, speed: float = 10) -> Room:
    return Room(Admission(bound), lambda: speed)


def test_what_does_not_fit_is_refused_with_a_hint_from_the_speed():
    full = room()
    full.take(90)
    with pytest.raises(Overloaded) as refusal:
        full.take(20)
    assert refusal.value.retry_after == pytest.approx(1.0)  # 10 tokens too many at 10 a second


def test_what_could_never_fit_is_refused_for_good():
    with pytest.raises(RequestTooLarge, match="at most 100"):
        room().take(101)


def test_what_is_released_can_be_taken_again():
    busy = room()
    held = busy.take(100)
    held.release(40)
    busy.take(40)
    with pytest.raises(Overloaded):
        busy.take(1)


def test_nothing_is_given_back_twice():
    busy = room()
    held = busy.take(60)
    held.release()
    held.release()
    busy.take(100)


def test_an_estimate_is_replaced_by_the_true_count():
    busy = room()
    held = busy.take(80)
    held.become(10)
    busy.take(90)
    held.release()
    busy.take(10)


async def test_streams_wait_for_room_first_come_first_served():
    busy = room()
    held = busy.take(80)
    order: list[str] = []

    async def stream(name: str, tokens: int) -> None:
        await busy.wait(tokens)
        order.append(name)

    waiting = []
    for name, tokens in [("large", 70), ("small", 5)]:
        waiting.append(asyncio.create_task(stream(name, tokens)))
        await asyncio.sleep(0)
    assert order == []
    held.release()
    await asyncio.gather(*waiting)
    assert order == ["large", "small"]


async def test_streams_leave_a_part_of_the_queue_to_single_requests():
    busy = room()
    await busy.wait(75)
    second = asyncio.create_task(busy.wait(1))
    await asyncio.sleep(0)
    assert not second.done()
    busy.take(25)
    second.cancel()


async def test_a_chunk_larger_than_the_streams_part_is_let_in_alone():
    await asyncio.wait_for(room().wait(300), 1)


def test_tokens_are_estimated_from_bytes_at_a_ratio_that_is_learned():
    estimator = Estimator(10_000)
    assert estimator.tokens("x" * 400) == 202
    for _ in range(40):
        estimator.learn(["中" * 100], tokens=75)
    assert estimator.tokens("x" * 400) == pytest.approx(102, abs=1)


def test_an_estimate_never_exceeds_what_the_model_takes():
    assert Estimator(512).tokens("x" * 10**6) == 512
