"""One question after the other on an idle server, in turns with a call that does nothing."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.rounds import digits
from benchmarks.suite.measure import milliseconds
from benchmarks.suite.offer.wire import Wire, requests
from benchmarks.texts import QUERY
from qwire import AsyncClient

_WARM = 20  # calls that do nothing: connection and client are warm when the first question goes


class Turns:
    """So many questions, the first of them the first that this process sends.

    Args:
        target: of the server.
        questions: how many.
    """

    def __init__(self, target: str, questions: int) -> None:
        self._wire = Wire(target)
        self._client = AsyncClient(target)
        self._count = questions
        (self._question,) = requests([QUERY], 1, queries=True)

    async def prepare(self) -> None:
        """Connect, and warm up this side."""
        for _ in range(_WARM):
            await self._wire.nothing(b"")

    async def run(self) -> dict[str, Any]:
        """Milliseconds of raw questions, of nothing, and of questions through `AsyncClient`."""
        raw, nothing, client = [], [], []
        for _ in range(self._count):
            raw.append(await _seconds(self._wire.embed(self._question)))
            nothing.append(await _seconds(self._wire.nothing(b"")))
            client.append(await _seconds(self._client.embed_query(QUERY)))
        await self._client.close()
        return {
            "questions": self._count,
            "first_ms": digits(raw[0] * 1000),
            "last_ms": digits(raw[-1] * 1000),
            "ms": milliseconds(raw),
            "nothing_ms": milliseconds(nothing),
            "client_ms": milliseconds(client),
        }


async def _seconds(call: Any) -> float:
    began = time.perf_counter()
    await call
    return time.perf_counter() - began
