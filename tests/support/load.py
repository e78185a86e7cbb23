"""A load generator: clients with a channel each that call at their own pace, and what they saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TEXT = "q 1"  # of which `slow_server.TOKENS` is the number of tokens


@dataclass
class Seen:
    """How calls ended.

    Attributes:
        accepted: answered calls of each client.
        refused: by error code; by gRPC's status and words where the server sent none.
        seconds: of each answered call.
        hints: of each refusal, in seconds.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    hints: list[float] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything."""
        for one in (self.accepted, self.refused, self.seconds, self.hints):
            one.clear()

    def percentile(self, part: float) -> float:
        """Of the answered calls' seconds."""
        return sorted(self.seconds)[int(part * (len(self.seconds) - 1))]


class Caller:
    """One client with a channel of its own.

    Attributes:
        answered: texts of its stream so far.
    """

    def __init__(self, target: str, name: str, seen: Seen) -> None:
        self.answered = 0
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._stub = pb_grpc.EmbeddingStub(self._channel)
        self._name = name
        self._seen = seen
        self._metadata = (("authorization", name),)

    async def ask(self, timeout: float | None = None) -> None:
        """One call of one text."""
        began = time.monotonic()
        request = pb.EmbedRequest(texts=[TEXT])
        try:
            reply = await self._stub.Embed(request, metadata=self._metadata, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            trailers = dict(tuple(error.trailing_metadata() or ()))
            told = trailers.get("qwire-error-code", f"{error.code().name}: {error.details()}")
            self._seen.refused[str(told)] += 1
            if hint := trailers.get("grpc-retry-pushback-ms"):
                self._seen.hints.append(int(hint) / 1000)
        else:
            assert reply.vectors.rows == 1
            self._seen.accepted[self._name] += 1
            self._seen.seconds.append(time.monotonic() - began)

    async def ask_at_random(
        self, per_second: float, stop: asyncio.Event, draw: random.Random
    ) -> None:
        """Calls that come whether or not those before them were answered (a Poisson process)."""
        calls: set[asyncio.Task[None]] = set()
        at = time.monotonic() + draw.expovariate(per_second)
        while not stop.is_set():
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            task = asyncio.create_task(self.ask())
            calls.add(task)
            task.add_done_callback(calls.discard)
            at += draw.expovariate(per_second)
        await asyncio.gather(*calls)

    async def stream(self, stop: asyncio.Event, chunk: int = 64, window: int = 1024) -> int:
        """Stream texts until told to stop, at most `window` unanswered; how many were answered."""
        sent = self.answered = 0
        moved = asyncio.Event()

        async def messages() -> AsyncIterator[Any]:
            nonlocal sent
            while not stop.is_set():
                yield pb.EmbedStreamRequest(ids=range(sent, sent + chunk), texts=[TEXT] * chunk)
                sent += chunk
                while sent - self.answered >= window:
                    moved.clear()
                    await moved.wait()

        async for reply in self._stub.EmbedStream(messages(), metadata=self._metadata):
            self.answered += len(reply.ids)
            moved.set()
            assert not reply.errors
        assert self.answered == sent
        return sent

    async def stats(self) -> pb.StatsResponse:
        """How busy the server is."""
        return await self._stub.Stats(pb.StatsRequest())

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def jain(counts: list[int]) -> float:
    """Jain's index of fairness: 1 if all are equal, 1/n if one has everything."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))
