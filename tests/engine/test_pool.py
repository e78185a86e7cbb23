"""The tokeniser threads: slices, order, cancellation."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.text.pool import SLICE_TEXTS, Pool, checked, slices
from support.machine_speed import hang_limit


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


async def all_threads_wait(pool: Pool, held: threading.Event) -> asyncio.Future:
    """Keep every thread busy until `held` is set."""
    begun = [threading.Event() for _ in pool._threads]

    def wait(mine: threading.Event) -> None:
        mine.set()
        held.wait(10)

    waits = asyncio.gather(*(pool.run(0, wait, one) for one in begun))
    await asyncio.sleep(0)
    for one in begun:
        assert await asyncio.to_thread(one.wait, 10)
    return waits


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 500))
def test_slices_cover_all_in_order_and_keep_their_bounds(sizes: list[int], most: int):
    parts = list(slices(sizes, most))
    assert [size for part in parts for size in sizes[part]] == sizes
    for part in parts:
        assert 0 < part.stop - part.start <= SLICE_TEXTS
        assert sum(sizes[part]) <= most or part.stop - part.start == 1


async def test_slices_of_people_go_before_those_of_jobs(pool: Pool):
    held, order = threading.Event(), []
    first = await all_threads_wait(pool, held)
    rest = [
        asyncio.ensure_future(pool.run(p, order.append, (p, i))) for i, p in enumerate([2, 2, 1, 1])
    ]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *rest)
    assert [priority for priority, _ in order] == [1, 1, 2, 2]


async def test_long_slices_of_anybody_leave_a_thread_to_short_ones(pool: Pool):
    """Six long ones before it delay a short one by none of them."""
    held = threading.Event()
    long = [asyncio.ensure_future(pool.run(0, held.wait, 10, chars=10**6)) for _ in range(6)]
    await asyncio.sleep(0)
    assert await pool.run(2, int) == 0
    assert not any(one.done() for one in long)
    held.set()
    await asyncio.gather(*long)


async def test_a_cancelled_slice_is_not_run(pool: Pool):
    held, ran = threading.Event(), []
    first = await all_threads_wait(pool, held)
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


class Panic(BaseException):
    """What a panic of Rust is in Python: no `Exception`."""


def panic() -> None:
    raise Panic("index out of bounds")


@pytest.mark.parametrize("error", [Panic, SystemExit, KeyboardInterrupt, MemoryError])
async def test_whatever_a_slice_raises_is_one_callers_exception_and_no_threads_end(
    pool: Pool, error: type[BaseException]
):
    """An error that is no `Exception` would pass every handler, and end the event loop."""

    def fail() -> None:
        raise error

    for _ in range(3):
        with pytest.raises((RuntimeError, MemoryError)):
            await pool.run(1, fail)
    assert await pool.run(1, int) == 0
    assert threading.active_count() >= 2


async def test_a_thread_that_is_disturbed_goes_on_and_tells_its_caller(pool: Pool):
    """By what is raised between its own lines, as a signal or a debugger may."""
    begun, held, ran_in = threading.Event(), threading.Event(), list[int]()

    def wait() -> None:
        ran_in.append(threading.get_ident())
        begun.set()
        while not held.wait(0.01):
            pass

    waiting = asyncio.ensure_future(pool.run(1, wait))
    assert await asyncio.to_thread(begun.wait, hang_limit(5))
    thread = next(t for t in pool._threads if t.ident == ran_in[0])
    raised = ctypes.py_object(SystemExit)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised) == 1
    with pytest.raises(RuntimeError, match="SystemExit"):
        await waiting
    held.set()
    assert await pool.run(1, int) == 0


async def test_a_panic_in_the_event_loop_is_an_exception_too():
    with pytest.raises(RuntimeError, match="Panic"):
        checked(panic)


def test_an_event_loop_that_ends_before_a_slice_does_not_end_the_thread(pool: Pool):
    begun, held = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        held.wait(hang_limit(10))

    async def leave() -> None:
        asyncio.ensure_future(pool.run(1, wait)).add_done_callback(lambda task: task.cancelled())
        assert await asyncio.to_thread(begun.wait, hang_limit(5))

    asyncio.run(leave())
    held.set()
    assert asyncio.run(pool.run(1, int)) == 0
