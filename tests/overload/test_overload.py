"""A server under more work than it can do: real sockets, its own process, a model that sleeps."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.load import Caller, Seen, jain

SECONDS_PER_TEXT = 0.01  # so the server can do 100 texts/s
QUEUE_SECONDS = 1.0


@dataclass
class Slow:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    target: str

    def memory(self) -> int:
        """Bytes of the process that are in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()


@contextmanager
def slow_server(**settings: object) -> Iterator[Slow]:
    """Started, and stopped at the end."""
    command = [sys.executable, "-m", "support.slow_server", str(SECONDS_PER_TEXT)]
    command += [f"{name}={value}" for name, value in settings.items()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout
            yield Slow(process, f"127.0.0.1:{int(process.stdout.readline().split()[0])}")
        finally:
            process.terminate()


@asynccontextmanager
async def callers(target: str, names: list[str], seen: Seen) -> AsyncIterator[list[Caller]]:
    """One for each name."""
    made = [Caller(target, name, seen) for name in names]
    try:
        yield made
    finally:
        await asyncio.gather(*(caller.close() for caller in made))


@pytest.mark.timeout(60)
async def test_twenty_people_get_answers_while_one_stream_is_greedy():
    """The stream has seconds of work waiting; nobody waits for it, and it is not starved."""
    with slow_server(queue_seconds=20) as slow:
        seen, stop = Seen(), asyncio.Event()
        before_each: list[int] = []  # question: texts of the stream answered while it waited
        names = [f"person {n}" for n in range(20)]
        async with callers(slow.target, ["greedy", *names], seen) as (greedy, *people):
            streaming = asyncio.ensure_future(greedy.stream(stop))
            while (await greedy.stats()).bulk.held_seconds < 1:
                await asyncio.sleep(0.01)

            async def ask(caller: Caller) -> None:
                for _ in range(10):
                    answered = greedy.answered
                    await caller.ask()
                    before_each.append(greedy.answered - answered)
                    await asyncio.sleep(0.2)

            before = (await greedy.stats()).bulk_tokens
            await asyncio.gather(*map(ask, people))
            after = await greedy.stats()
            stop.set()
            assert await streaming > 0
        assert seen.accepted == dict.fromkeys(names, 10)
        # First come, first served would have had each wait for a second of texts.
        assert statistics.median(before_each) < 0.5 / SECONDS_PER_TEXT
        assert after.bulk_tokens > before, "the stream was starved"


async def overload(target: str, clients: int) -> tuple[Seen, float, float]:
    """Three times what the server can do, from clients that are all alike.

    It lasts until there are twenty answers for each of them.

    Returns:
        What they saw; answers a second as a part of what the server does when it never waits; most
        seconds of work that it ever held.
    """
    seen, draw = Seen(), random.Random(20)
    names = [f"client {n}" for n in range(clients)]
    per_client = 3 / SECONDS_PER_TEXT / clients
    held = 0.0
    async with callers(target, names, seen) as made:
        await asyncio.gather(*(caller.ask() for caller in made))  # connect
        seen.clear()
        before, began = await made[0].stats(), time.monotonic()
        stop = asyncio.Event()
        load = asyncio.gather(*(c.ask_at_random(per_client, stop, draw) for c in made))
        while sum(seen.accepted.values()) < 20 * clients and not load.done():
            await asyncio.sleep(0.1)
            held = max(held, (await made[0].stats()).interactive.held_seconds)
        answers = sum(seen.accepted.values())
        after, took = await made[0].stats(), time.monotonic() - began
        stop.set()
        await load
    capacity = (after.texts - before.texts) / (after.busy_seconds - before.busy_seconds)
    return seen, answers / took / capacity, held


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_hundred_clients_at_three_times_the_capacity_share_it_and_lose_nothing():
    with slow_server(queue_seconds=QUEUE_SECONDS) as slow:
        seen, goodput, held = await overload(slow.target, clients=100)
    judge(seen, goodput, held, clients=100)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_clients_at_three_times_the_capacity_share_it_and_lose_nothing():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    try:
        with slow_server(queue_seconds=5 * QUEUE_SECONDS) as slow:
            early = slow.memory()
            seen, goodput, held = await overload(slow.target, clients=1000)
            grown = slow.memory() - early
        judge(seen, goodput, held, clients=1000, queue_seconds=5 * QUEUE_SECONDS)
        assert grown < 200e6
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def judge(
    seen: Seen, goodput: float, held: float, *, clients: int, queue_seconds: float = QUEUE_SECONDS
) -> None:
    """What must hold whatever the number of clients."""
    counts = list(seen.accepted.values())
    fairness = jain(counts)
    print(  # noqa: T201  figures for whoever runs it with -s
        f"{clients} clients: goodput {goodput:.1%}, Jain {fairness:.3f}, accepted per client "
        f"{min(counts)} to {max(counts)}, refused {dict(seen.refused)}, held {held:.2f} s, "
        f"answered in {seen.percentile(0.5):.2f} s (median), {seen.percentile(0.99):.2f} s (p99)"
    )
    assert set(seen.refused) == {"OVERLOADED"}, "a call ended without the server's word"
    assert min(seen.hints) >= 0.05
    assert len(counts) == clients
    assert fairness >= 0.95
    assert goodput >= 0.9
    assert held <= queue_seconds + 0.1
    assert seen.percentile(0.99) <= 5 * queue_seconds


@pytest.mark.timeout(60)
async def test_what_cannot_be_answered_in_time_is_refused_and_the_rest_is_answered_in_time():
    """Deadlines of half a second before a queue of a second: nothing is computed for nobody."""
    with slow_server(queue_seconds=QUEUE_SECONDS) as slow:
        seen = Seen()
        async with callers(slow.target, [f"client {n}" for n in range(40)], seen) as made:
            await asyncio.gather(*(caller.ask() for caller in made))
            for _ in range(3):
                await asyncio.gather(*(c.ask(timeout=0.5) for c in made for _ in range(5)))
            stats = await made[0].stats()
        assert seen.refused["DEADLINE_EXCEEDED"] > 0, "nothing was refused at once"
        assert all(code.startswith(("DEADLINE_EXCEEDED", "OVERLOADED")) for code in seen.refused)
        computed_for_nobody = stats.texts - sum(seen.accepted.values())
        assert computed_for_nobody <= 0.1 * stats.texts
