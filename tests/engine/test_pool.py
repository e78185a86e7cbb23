"""The tokeniser threads: slices, order, cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.text.pool import SLICE_TEXTS, Pool, slices


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 500))
def test_slices_cover_all_in_order_and_keep_their_bounds(sizes: list[int], most: int):
    parts = list(slices(sizes, most))
    assert [size for part in parts for size in sizes[part]] == sizes
    for part in parts:
        assert 0 < part.stop - part.start <= SLICE_TEXTS
        assert sum(sizes[part]) <= most or part.stop - part.start == 1


async def test_slices_of_people_go_before_those_of_jobs(pool: Pool):
    held, order = threading.Event(), []
    first = asyncio.ensure_future(pool.run(2, held.wait, 5))
    await asyncio.sleep(0)
    rest = [
        asyncio.ensure_future(pool.run(p, order.append, (p, i))) for i, p in enumerate([2, 2, 1, 1])
    ]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *rest)
    assert order == [(1, 2), (1, 3), (2, 0), (2, 1)]


async def test_a_cancelled_slice_is_not_run(pool: Pool):
    held, ran = threading.Event(), []
    first = asyncio.ensure_future(pool.run(1, held.wait, 5))
    second = asyncio.ensure_future(pool.run(1, ran.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    held.set()
    await first
    await pool.run(1, int)
    assert ran == []


async def test_what_a_slice_raises_is_the_callers(pool: Pool):
    with pytest.raises(ZeroDivisionError):
        await pool.run(1, divmod, 1, 0)
    assert await pool.run(1, divmod, 7, 2) == (3, 1)
