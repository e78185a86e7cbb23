"""Stats and metrics of the whole server, for the front that is asked for them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from qwire_server.api.gauges import QueueGauges
from qwire_server.api.instruments import Instruments
from qwire_server.api.stats import Stats, look
from qwire_server.errors import RequestError
from qwire_server.processes.figures import (
    exposed,
    pack_metrics,
    pack_stats,
    sum_counters,
    unpack_waiting,
)
from qwire_server.processes.link import Answer

if TYPE_CHECKING:
    from qwire_server.processes.desk import Desk
    from qwire_server.processes.link import Facts, Link

_PATIENCE = 2.0  # seconds for a process; one that is stuck is left out


class Overview:
    """Asks every process, when a front asks the desk.

    Args:
        desk: knows them.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._started = time.monotonic()
        self._registry = CollectorRegistry()
        self._queue = QueueGauges(Instruments(self._registry))
        desk.answer("all_stats", self._answer_stats)
        desk.answer("all_metrics", self._answer_metrics)

    async def _answer_stats(self, facts: Facts) -> Answer:
        return Answer(pack_stats(await self._stats(facts["only"])))

    async def _answer_metrics(self, _: Facts) -> Answer:
        self._queue.show(await self._stats(None))
        answers = await self._ask_all("metrics")
        packed = {name: answer.body for name, answer in answers.items()}
        packed["desk"] = pack_metrics(self._registry)
        return Answer(body=await asyncio.to_thread(exposed, packed))

    async def _stats(self, only: str | None) -> Stats:
        states = [answer.facts for answer in (await self._ask_all("state")).values()]
        counters = sum_counters(state["counters"] for state in states)
        counters.started = self._started
        waiting = [w for state in states for w in unpack_waiting(state.get("waiting", []))]
        accuracies = [state["accuracy"] for state in states if "accuracy" in state]
        accuracy = sum(accuracies) / len(accuracies) if accuracies else 1.0
        return look(counters, self._desk.room, waiting, accuracy, only)

    async def _ask_all(self, what: str) -> dict[str, Answer]:
        links = self._desk.links
        answers = await asyncio.gather(*(_ask(link, what) for link in links.values()))
        return {name: answer for name, answer in zip(links, answers, strict=True) if answer}


async def _ask(link: Link, what: str) -> Answer | None:
    try:
        return await asyncio.wait_for(link.ask(what), _PATIENCE)
    except (RequestError, asyncio.TimeoutError):
        return None
