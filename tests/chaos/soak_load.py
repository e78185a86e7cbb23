"""Clients that come and go: `python -m chaos.soak_load TARGET REQUESTS`, then a line of JSON.

Most call, some call and hang up, some are in too great a hurry, some stream, some leave in
mid-stream; each connects anew after a few requests.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from collections import Counter

import numpy as np

import qwire
from support.fault_model import expected
from support.machine_speed import hang_limit

WORKERS = 24
ACTS_PER_CONNECTION = 20


class Load:
    """A bounded number of requests by workers that share nothing else.

    Args:
        target: to connect to.
        requests: in all.
        counts: what was done, by kind; `wrong` are vectors.
    """

    def __init__(self, target: str, requests: int, counts: Counter[str]) -> None:
        self.counts = counts
        self._target = target
        self._left = requests
        self._next = itertools.count()
        self._draw = random.Random(7)
        # One more kind is one more line.
        self._acts = {
            self._call: 84,
            self._cancel: 6,
            self._hurry: 3,
            self._stream: 4,
            self._leave: 3,
            self._knock: 1,
        }

    async def work(self) -> None:
        """One worker."""
        while self._left > 0:
            self.counts["connections"] += 1
            async with qwire.AsyncClient(self._target, timeout=hang_limit(60)) as client:
                for _ in range(ACTS_PER_CONNECTION):
                    if self._left <= 0:
                        return
                    self._left -= 1
                    (act,) = self._draw.choices(list(self._acts), list(self._acts.values()))
                    await act(client)

    def _texts(self, count: int) -> list[str]:
        return [f"soak {next(self._next)}" for _ in range(count)]

    async def _call(self, client: qwire.AsyncClient) -> None:
        texts = self._texts(2)
        self._check((await client.embed(texts)).vectors, texts)
        self.counts["calls"] += 1

    async def _cancel(self, client: qwire.AsyncClient) -> None:
        calling = asyncio.ensure_future(client.embed(self._texts(2)))
        await asyncio.sleep(self._draw.uniform(0, 0.02))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        self.counts["cancelled"] += 1

    async def _hurry(self, client: qwire.AsyncClient) -> None:
        try:
            await client.embed(self._texts(2), timeout=self._draw.uniform(0.001, 0.02))
        except (qwire.DeadlineExceededError, qwire.ConnectionFailedError):
            self.counts["too late"] += 1
        else:
            self.counts["calls"] += 1

    async def _stream(self, client: qwire.AsyncClient) -> None:
        texts = self._texts(40)
        items = [item async for item in client.embed_stream(texts, chunk_size=16)]
        self._check(np.stack([item.embedding for item in items]), texts)
        self.counts["streams"] += 1

    async def _leave(self, client: qwire.AsyncClient) -> None:
        stream = client.embed_stream(self._texts(400), chunk_size=16)
        async for _ in stream:
            break
        await stream.aclose()
        self.counts["streams left"] += 1

    async def _knock(self, _: qwire.AsyncClient) -> None:
        async with qwire.AsyncClient(
            self._target, api_key="nobody.knows", timeout=hang_limit(60)
        ) as stranger:
            try:
                await stranger.embed(self._texts(1))
            except qwire.UnauthenticatedError:
                self.counts["turned away"] += 1
            else:
                self.counts["wrong"] += 1

    def _check(self, vectors: np.ndarray, texts: list[str]) -> None:
        right = np.isclose(vectors, expected(texts), atol=1e-5).all(axis=1)
        self.counts["wrong"] += len(texts) - int(right.sum())


async def main() -> None:
    target, requests = sys.argv[1:]
    load = Load(target, int(requests), Counter(wrong=0))
    await asyncio.gather(*(load.work() for _ in range(WORKERS)))
    sys.stdout.write(json.dumps(load.counts) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
