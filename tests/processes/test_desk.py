"""One desk for several fronts: bounds, quotas and devices, and what becomes of who goes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from qwire_server.api.room import Room
from qwire_server.engine import clock
from qwire_server.engine.queue.admission import Admission, Asker
from qwire_server.engine.queue.line import PATIENT, Patience
from qwire_server.engine.queue.quota import Quota, Quotas
from qwire_server.engine.work import RequestClass
from qwire_server.errors import DeadlineExceeded, Overloaded, QuotaExceeded, Unavailable
from qwire_server.processes.desk import Desk
from qwire_server.processes.desk_link import DeskLink
from qwire_server.processes.link import Link
from support.machine_speed import hang_limit
from support.patience import a_while

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NO_WAIT = Patience(longest=1)
SECOND = 1_000_000
QUESTION = Asker("a", RequestClass.INTERACTIVE)
JOB = Asker("a", RequestClass.BULK)


class Office:
    """A desk, and whoever connects to it."""

    def __init__(self, folder, bound: int, quota: Quota) -> None:
        self.room = Room(Admission(bound), Quotas(lambda _: quota))
        self.desk = Desk(self.room, lambda: None)
        self._path = folder / "desk"
        self.links: list[tuple[Link, asyncio.Task[None]]] = []

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self.desk.meet, self._path)

    async def link(self) -> Link:
        link = Link(*await asyncio.open_unix_connection(self._path), told={"devices": _heard})
        self.links.append((link, asyncio.create_task(link.run())))
        return link

    async def front(self, name: str = "front") -> tuple[DeskLink, Link]:
        link = await self.link()
        link.tell("front", name=name)
        return DeskLink(link), link

    async def device(self, name: str = "engine", fingerprint: str = "one") -> Link:
        link = await self.link()
        models = {"model": {"served": {"fingerprint": fingerprint}}, "reranker": None}
        link.tell("device", name=name, socket="s", models=models)
        await self.settle()
        return link

    async def settle(self) -> None:
        """Until all that was told is heard."""
        await a_while(0.05)

    async def close(self) -> None:
        for link, task in self.links:
            link.close()
            await task
        await self.settle()
        self._server.close()
        assert self.room.admission.held == 0, "all is given back when all have gone"
        assert not self.room.quotas.streams()


def _heard(_facts, _body) -> None:
    pass


@contextlib.asynccontextmanager
async def office(
    folder, bound: int = 10 * SECOND, quota: Quota | None = None, devices: int = 1
) -> AsyncIterator[Office]:
    made = Office(folder, bound, quota or Quota())
    await made.open()
    try:
        for _ in range(devices):
            await made.device()
        yield made
    finally:
        await made.close()


async def test_two_fronts_share_one_bound(tmp_path):
    async with office(tmp_path, bound=100) as made:
        (one, _), (two, _) = await made.front(), await made.front()
        await one.take(QUESTION, 60, 1, PATIENT)
        with pytest.raises(Overloaded) as refused:
            await two.take(QUESTION, 60, 1, NO_WAIT)
        assert refused.value.retry_after


async def test_a_request_waits_until_another_front_gives_room_back(tmp_path):
    async with office(tmp_path, bound=100) as made:
        (one, _), (two, _) = await made.front(), await made.front()
        held = await one.take(QUESTION, 60, 1, PATIENT)
        waiting = asyncio.create_task(two.take(QUESTION, 60, 5, PATIENT))
        await made.settle()
        assert not waiting.done()
        assert (made.room.line.requests, made.room.line.size) == (1, 5)
        held.release()
        await waiting
        assert made.room.admission.held == 60


async def test_what_a_front_held_is_free_once_it_is_gone(tmp_path):
    async with office(tmp_path, bound=100, quota=Quota(streams=1)) as made:
        (one, link), (two, _) = await made.front(), await made.front()
        await one.take(QUESTION, 90, 1, PATIENT)
        open_stream = one.stream("a")
        await open_stream.__aenter__()
        one.stall("a")
        waiting = asyncio.create_task(two.wait(JOB, 50))
        await made.settle()
        assert not waiting.done()
        with pytest.raises(QuotaExceeded):
            await two.stream("a").__aenter__()
        link.close()
        await asyncio.wait_for(waiting, hang_limit(5))
        async with two.stream("a"):
            pass
        assert all(not account.stalled for account in made.room.quotas._accounts.values())


async def test_a_wait_that_is_given_up_holds_nothing(tmp_path):
    async with office(tmp_path, bound=100) as made:
        one, _ = await made.front()
        held = await one.take(QUESTION, 100, 1, PATIENT)
        for steps in range(4):  # given up before the desk heard of it, and later
            waiting = asyncio.create_task(one.wait(JOB, 50))
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        held.release()
        await made.settle()
        assert made.room.admission.held == 0


async def test_the_true_cost_replaces_the_estimate_and_is_checked_against_the_deadline(tmp_path):
    async with office(tmp_path) as made:
        one, _ = await made.front()
        soon = Patience(deadline=clock.now() + 3 * SECOND)
        other = await one.take(Asker("b", RequestClass.INTERACTIVE), 2 * SECOND, 1, PATIENT)
        held = await one.take(QUESTION, 1, 1, soon)
        with pytest.raises(DeadlineExceeded):
            await held.become(2 * SECOND, 100, soon)
        held.release()
        await other.become(7, 1)
        await made.settle()
        assert made.room.admission.held == 7


async def test_tokens_are_charged_once_for_all_fronts(tmp_path):
    async with office(tmp_path, quota=Quota(tokens_per_minute=100)) as made:
        (one, _), (two, _) = await made.front(), await made.front()
        held = await one.take(QUESTION, 1, 1, PATIENT)
        await held.become(1, 150)
        await made.settle()
        with pytest.raises(QuotaExceeded):
            await two.take(QUESTION, 1, 1, PATIENT)


async def test_work_goes_to_the_device_that_holds_least_and_is_charged_its_part(tmp_path):
    async with office(tmp_path, devices=2) as made:
        one, _ = await made.front()
        large = await one.take(QUESTION, 1000, 1, PATIENT)
        small = [await one.take(QUESTION, 100, 1, PATIENT) for _ in range(5)]
        assert {each.device for each in small} == {3 - large.device}
        assert made.room.admission.held == 750
        small[0].answered(60)
        small[1].release()
        await made.settle()
        assert [device.held for device in made.desk.devices] == [1000, 340]
        assert made.room.admission.held == 670


async def test_a_device_that_comes_back_is_another_one(tmp_path):
    """What was held for the first is not taken off the second."""
    async with office(tmp_path, devices=0) as made:
        one, _ = await made.front()
        with pytest.raises(Unavailable):
            await one.take(QUESTION, 1, 1, PATIENT)
        with pytest.raises(Unavailable):
            await one.wait(JOB, 1)
        first = await made.device()
        held = await one.take(QUESTION, 100, 1, PATIENT)
        first.close()
        await made.settle()
        await made.device()
        held.release()
        again = await one.take(QUESTION, 1, 1, PATIENT)
        assert again.device != held.device
        assert made.desk.devices[0].held == 1
        assert made.room.admission.held == 1


async def test_a_device_that_comes_back_with_another_model_gets_no_work(tmp_path, caplog):
    """Its vectors would go under the fingerprint of the first; its process is ended instead."""
    async with office(tmp_path) as made:
        one, _ = await made.front()
        made.links[0][0].close()
        await made.settle()
        other = await made.device(fingerprint="two")
        with pytest.raises(Unavailable):
            await other.ask("models")
        with pytest.raises(Unavailable):
            await one.take(QUESTION, 1, 1, PATIENT)
        assert "another fingerprint" in caplog.text
        await made.device()
        await one.take(QUESTION, 1, 1, PATIENT)
