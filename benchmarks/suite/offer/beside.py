"""Streams of bulk texts without end, and questions at a steady rate beside them.

Questions come by chance (a Poisson process), whether the last one is answered or not, and a
question's time begins when it was due: a server that stalls is not asked less.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.sizes import SEED
from benchmarks.suite.measure import milliseconds, steady
from benchmarks.suite.offer.streams import Stream, serialised
from benchmarks.suite.offer.wire import Wire, between, requests
from benchmarks.texts import QUERY

if TYPE_CHECKING:
    from benchmarks.suite.workloads import Workload

_FEWEST = 3  # answers to bulk, for a rate
_LOOK_SECONDS = 0.1


class Beside:
    """Bulk, and perhaps questions.

    Args:
        target: of the server.
        workload: of the bulk texts.
        texts: different ones, dealt out to the streams, which begin again at their end.
        streams: of bulk; chunk_texts: texts a message.
        rate: questions a second; 0 for none.
        warm, seconds: before the clock runs, and while it runs.
    """

    def __init__(
        self,
        *,
        target: str,
        workload: Workload,
        texts: int,
        streams: int,
        chunk_texts: int,
        rate: float,
        warm: float,
        seconds: float,
    ) -> None:
        chunks = serialised(workload.texts(texts), chunk_texts)
        self._asking, *wires = (Wire(target) for _ in range(streams + 1))
        self._wires = wires
        self._streams = [
            Stream(wire, itertools.cycle(chunks[number::streams]), queries=workload.queries)
            for number, wire in enumerate(wires)
        ]
        (self._question,) = requests([QUERY], 1, queries=True)
        self._rate, self._warm, self._window = rate, warm, seconds
        self._draw = random.Random(SEED)
        self._taken: list[tuple[float, float]] = []  # due, answered
        self._failed = 0

    async def prepare(self) -> None:
        """Connect."""
        await asyncio.gather(*(wire.nothing(b"") for wire in (self._asking, *self._wires)))

    async def run(self) -> dict[str, Any]:
        """What was answered in the window."""
        streaming = [asyncio.create_task(stream.run()) for stream in self._streams]
        await self._ask_for(self._warm)
        before, since = await self._asking.stats(), time.perf_counter()
        await self._ask_for(self._window)
        while sum(answer[0] >= since for s in self._streams for answer in s.answers) < _FEWEST:
            await self._ask_for(_LOOK_SECONDS)  # a slow device gets longer
        server, ended = between(before, await self._asking.stats()), time.perf_counter()
        for task in streaming:
            task.cancel()
        await asyncio.gather(*streaming, return_exceptions=True)
        await self._until_idle()
        return {
            "bulk_tokens_per_second": digits(self._bulk(since, ended, server["batches"])),
            "questions": len(inside := [a - d for d, a in self._taken if since <= d < ended]),
            "questions_failed": self._failed,
            "ms": milliseconds(inside),
            "server": server,
        }

    def _bulk(self, since: float, ended: float, batches: int) -> float:
        answers = sorted(
            answer
            for stream in self._streams
            for answer in stream.answers
            if since <= answer[0] < ended
        )
        return steady(answers, batches, warm=0)

    async def _ask_for(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        asked: list[asyncio.Task[None]] = []
        due = time.perf_counter()
        while self._rate and (due := due + self._draw.expovariate(self._rate)) < until:
            await asyncio.sleep(due - time.perf_counter())
            asked.append(asyncio.create_task(self._ask(due)))
        await asyncio.sleep(until - time.perf_counter())
        await asyncio.gather(*asked)

    async def _ask(self, due: float) -> None:
        try:
            await self._asking.embed(self._question)
            self._taken.append((due, time.perf_counter()))
        except Exception:  # noqa: BLE001  any status: a question without an answer
            self._failed += 1

    async def _until_idle(self) -> None:
        while True:
            now = await self._asking.stats()
            if not now.bulk.held_seconds and not now.interactive.held_seconds:
                return
            await asyncio.sleep(0.05)
