"""Callers, each with one request in flight: chat fronts that ask for single texts."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.rounds import digits
from benchmarks.suite.measure import milliseconds
from benchmarks.suite.offer.wire import Wire, between, requests
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.suite.workloads import Workload


class Calls:
    """So many callers over one connection.

    Args:
        target: of the server.
        workload: of the texts.
        callers: at a time.
        texts_per_call: of each request.
        different: texts; callers begin again when all were asked for.
        warm, seconds: before the clock runs, and while it runs.
    """

    def __init__(
        self,
        *,
        target: str,
        workload: Workload,
        callers: int,
        texts_per_call: int,
        different: int,
        warm: float,
        seconds: float,
    ) -> None:
        self._wire = Wire(target)
        self._callers = callers
        self._warm, self._window = warm, seconds
        listed = requests(workload.texts(different), texts_per_call, queries=workload.queries)
        self._requests = itertools.cycle(listed)
        self._over = False
        self._answered = asyncio.Event()
        self._refused = 0
        self._done: list[tuple[float, float, bytes]] = []  # began, ended, reply

    async def prepare(self) -> None:
        """Connect."""
        await self._wire.nothing(b"")

    async def run(self) -> dict[str, Any]:
        """Ask for the warm-up and the window; what was answered in the window."""
        asking = [asyncio.create_task(self._ask(self._requests)) for _ in range(self._callers)]
        await asyncio.sleep(self._warm)
        before, since = await self._wire.stats(), time.perf_counter()
        self._answered.clear()
        await asyncio.sleep(self._window)
        await self._answered.wait()  # a slow device gets longer
        after, ended = await self._wire.stats(), time.perf_counter()
        self._over = True
        await asyncio.gather(*asking)
        inside = [one for one in self._done if since <= one[1] < ended]
        tokens = [
            t for *_, reply in inside for t in pb.EmbedResponse.FromString(reply).usage.tokens
        ]
        return {
            "calls": len(inside),
            "refused": self._refused,
            "texts": len(tokens),
            "tokens": sum(tokens),
            "seconds": ended - since,
            "taken": [round(end - start, 6) for start, end, _ in inside],
            "server": between(before, after),
        }

    async def _ask(self, requests: Iterator[bytes]) -> None:
        while not self._over:
            start = time.perf_counter()
            reply = await self._answer(next(requests))
            self._done.append((start, time.perf_counter(), reply))
            self._answered.set()

    async def _answer(self, request: bytes) -> bytes:
        """Asks again as often and as late as the server says, as its clients do."""
        while isinstance(reply := await self._once(request), float):
            self._refused += 1
            await asyncio.sleep(reply)
        return reply

    async def _once(self, request: bytes) -> bytes | float:
        """The reply, or in how many seconds to ask again."""
        try:
            reply: bytes = await self._wire.embed(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            trailer = dict(error.trailing_metadata())
            return int(trailer.get("grpc-retry-pushback-ms", 100)) / 1000
        return reply


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of generators that ran at the same time."""
    seconds = max(part["seconds"] for part in parts)
    counted = {k: sum(part[k] for part in parts) for k in ("calls", "refused", "texts", "tokens")}
    return {
        **counted,
        "seconds": digits(seconds),
        "texts_per_second": digits(counted["texts"] / seconds),
        "tokens_per_second": digits(counted["tokens"] / seconds),
        "ms": milliseconds([taken for part in parts for taken in part["taken"]]),
        "server": parts[0]["server"],
        "generator_cores": [part["generator_cores"] for part in parts],
    }
