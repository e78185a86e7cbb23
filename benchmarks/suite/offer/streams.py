"""A fixed list of texts over some streams, as fast as the server takes them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.suite.measure import milliseconds, steady
from benchmarks.suite.offer.wire import Wire, between, options
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.suite.workloads import Workload

    Chunk = tuple[bytes, int]  # texts, serialised; how many


class Streams:
    """Streams side by side, each on a connection of its own.

    Args:
        target: of the server.
        workload: of the texts.
        texts: how many.
        streams: how many; chunks are dealt out to them.
        chunk_texts: texts a message.
    """

    def __init__(
        self, *, target: str, workload: Workload, texts: int, streams: int, chunk_texts: int
    ) -> None:
        chunks = serialised(workload.texts(texts), chunk_texts)
        self._wires = [Wire(target) for _ in range(streams)]
        self._streams = [
            Stream(wire, chunks[number::streams], queries=workload.queries)
            for number, wire in enumerate(self._wires)
        ]

    async def prepare(self) -> None:
        """Connect."""
        await asyncio.gather(*(wire.nothing(b"") for wire in self._wires))

    async def run(self) -> dict[str, Any]:
        """Offer all, wait for all."""
        before, began = await self._wires[0].stats(), time.perf_counter()
        await asyncio.gather(*(stream.run() for stream in self._streams))
        seconds = time.perf_counter() - began
        server = between(before, await self._wires[0].stats())
        answers = sorted(answer for stream in self._streams for answer in stream.answers)
        tokens = sum(stream.tokens for stream in self._streams)
        texts = sum(stream.texts for stream in self._streams)
        rate = steady(answers, server["batches"])
        return {
            "texts": texts,
            "tokens": tokens,
            "errors": sum(stream.errors for stream in self._streams),
            "seconds": digits(seconds),
            "tokens_per_second": digits(rate),
            "texts_per_second": digits(rate * texts / tokens),
            "tokens_per_second_with_start": digits(tokens / seconds),
            "chunk_ms": milliseconds([s for stream in self._streams for s in stream.seconds]),
            "server": server,
        }


def serialised(texts: Sequence[str], chunk_texts: int) -> list[Chunk]:
    """Messages without their ids."""
    parts = [texts[i : i + chunk_texts] for i in range(0, len(texts), chunk_texts)]
    return [(pb.EmbedStreamRequest(texts=part).SerializeToString(), len(part)) for part in parts]


class Stream:
    """One stream: writes chunks as fast as they are taken, notes when each was answered.

    Attributes:
        answers: (time, tokens) of each reply.
        seconds: of each chunk, from handing it to gRPC to its last row.
        texts, tokens: answered.
        errors: texts that were answered by one.
    """

    def __init__(self, wire: Wire, chunks: Iterable[Chunk], *, queries: bool) -> None:
        self.answers: list[tuple[float, int]] = []
        self.seconds: list[float] = []
        self.texts = self.tokens = self.errors = 0
        self._wire = wire
        self._chunks = chunks
        self._options = pb.EmbedStreamRequest(options=options(queries=queries)).SerializeToString()
        self._sent: dict[int, float] = {}
        self._open: Counter[int] = Counter()
        self._chunk_of: dict[int, int] = {}

    async def run(self) -> None:
        """Until everything is answered."""
        call = self._wire.stream()
        writing = asyncio.create_task(self._write(call))
        try:
            async for reply in call:
                self._note(pb.EmbedStreamResponse.FromString(reply))
            await writing
        finally:
            writing.cancel()
            call.cancel()

    async def _write(self, call: Any) -> None:
        try:
            await self._write_all(call)
        except BaseException:
            call.cancel()  # or the reader would wait for ever
            raise

    async def _write_all(self, call: Any) -> None:
        first = 0
        for number, (texts, count) in enumerate(self._chunks):
            ids = range(first, first + count)
            self._chunk_of.update(dict.fromkeys(ids, number))
            self._open[number] = count
            self._sent[number] = time.perf_counter()
            head = b"" if number else self._options
            # One message may be written in parts: ids, which differ each time, and texts.
            await call.write(head + pb.EmbedStreamRequest(ids=ids).SerializeToString() + texts)
            first += count
        await call.done_writing()

    def _note(self, reply: pb.EmbedStreamResponse) -> None:
        now, tokens = time.perf_counter(), sum(reply.usage.tokens)
        failed = [error.id for error in reply.errors]
        self.answers.append((now, tokens))
        self.tokens += tokens
        self.texts += len(reply.ids)
        self.errors += len(failed)
        for number, count in Counter(
            self._chunk_of.pop(each) for each in (*reply.ids, *failed)
        ).items():
            self._open[number] -= count
            if not self._open[number]:
                del self._open[number]
                self.seconds.append(now - self._sent.pop(number))
