"""What processes of a server tell and ask each other, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwire_server.errors import DeadlineExceeded, Overloaded, RequestError, Unavailable
from qwire_server.processes.link import Answer, Link
from support.machine_speed import hang_limit
from support.patience import a_while

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def linked(folder: Path, told=None, asked=None) -> AsyncIterator[tuple[Link, list[Link]]]:
    """One end, and the ends that answer."""
    answering: list[Link] = []

    async def meet(reader, writer):
        answering.append(Link(reader, writer, told, asked))
        await answering[-1].run()

    server = await asyncio.start_unix_server(meet, folder / "s")
    asking = Link(*await asyncio.open_unix_connection(folder / "s"))
    running = asyncio.create_task(asking.run())
    try:
        yield asking, answering
    finally:
        asking.close()
        await running
        server.close()


async def test_an_answer_comes_with_its_body(tmp_path):
    def double(facts):
        return Answer({"n": facts["n"] * 2}, b"\x00" * facts["n"])

    async with linked(tmp_path, asked={"double": double}) as (link, _):
        answers = await asyncio.gather(*(link.ask("double", n=n) for n in range(100)))
    assert [answer.facts["n"] for answer in answers] == [2 * n for n in range(100)]
    assert [len(answer.body) for answer in answers] == list(range(100))


async def test_what_is_told_arrives_in_its_order_and_before_a_later_question(tmp_path):
    heard: list[tuple[int, bytes]] = []
    told = {"hear": lambda facts, body: heard.append((facts["n"], body))}
    async with linked(tmp_path, told, {"count": lambda _: Answer({"n": len(heard)})}) as (link, _):
        for n in range(1000):
            link.tell("hear", bytes([n % 256]) * 2000, n=n)
        assert (await link.ask("count")).facts["n"] == 1000
    assert heard == [(n, bytes([n % 256]) * 2000) for n in range(1000)]


async def test_a_slow_answer_holds_no_other_up(tmp_path):
    release = asyncio.Event()

    async def slow(_facts):
        await release.wait()
        return Answer({"was": "slow"})

    asked = {"slow": slow, "quick": lambda _: Answer({"was": "quick"})}
    async with linked(tmp_path, asked=asked) as (link, _):
        waiting = asyncio.create_task(link.ask("slow"))
        assert (await link.ask("quick")).facts == {"was": "quick"}
        release.set()
        assert (await waiting).facts == {"was": "slow"}


@pytest.mark.parametrize(
    "error",
    [Overloaded("full", retry_after=1.5), DeadlineExceeded("late"), Unavailable("gone")],
    ids=lambda error: error.code,
)
async def test_an_error_is_the_same_at_the_other_end(tmp_path, error):
    def refuse(_facts):
        raise error

    async with linked(tmp_path, asked={"refuse": refuse}) as (link, _):
        with pytest.raises(type(error)) as caught:
            await link.ask("refuse")
    assert (caught.value.message, caught.value.retry_after) == (error.message, error.retry_after)


async def test_a_bug_is_told_without_what_it_quotes(tmp_path):
    async def broken(_facts):
        raise ValueError("a secret text")

    async with linked(tmp_path, asked={"broken": broken}) as (link, _):
        with pytest.raises(RequestError) as caught:
            await link.ask("broken")
    assert "secret" not in caught.value.message
    assert "ValueError" in caught.value.message


async def test_who_waits_for_a_process_that_ends_is_told_so(tmp_path):
    async with linked(tmp_path, asked={"never": lambda _: asyncio.Event().wait()}) as ends:
        link, answering = ends
        waiting = asyncio.create_task(link.ask("never"))
        await a_while(0.05)
        answering[0].close()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, hang_limit(5))
        with pytest.raises(Unavailable):
            await link.ask("never")
        link.tell("anything")  # nobody is there: no error
