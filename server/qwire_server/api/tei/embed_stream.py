"""One `EmbedStream`: a text a message, answered in order, computed in chunks.

A reading task collects what arrives, a feeding task makes chunks of it, the method itself writes.
The first text that cannot be embedded ends the stream, after the answers to those before it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, NamedTuple

from qwire_server.api.chunk import Answer
from qwire_server.api.flow import Flow
from qwire_server.api.rpc.writer import Writer
from qwire_server.api.tei import wire
from qwire_server.api.tei.ending import Ending
from qwire_server.engine.rows import row_bytes
from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qwire_server.api.call import Call
    from qwire_server.api.embedder import Embedder
    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.guard import Context
    from qwire_server.api.rpc.rules import StreamRules
    from qwire_server.api.tei.arrivals import Arrivals
    from qwire_server.pb.tei.v1 import tei_pb2 as pb

# One chunk runs and one waits for the device; what comes meanwhile makes up the next one.
_OPEN_CHUNKS = 2


@dataclass(slots=True)
class _Chunk:
    """Texts that were given to the flow together, and how many of them have no answer yet."""

    missing: int


@dataclass(slots=True)
class _Part:
    """Texts that were answered together, and how many of them are still to be written."""

    answer: Answer
    unwritten: int


class _Accepted(NamedTuple):
    """A text that will be answered."""

    chars: int
    began: float
    chunk: _Chunk


class _Row(NamedTuple):
    """The vector of a text."""

    data: memoryview
    tokens: int
    part: _Part


class EmbedStream:
    """The stream of one call.

    Args:
        context: of the call.
        call: whose it is.
        arrivals: of the stream.
        embedder: the way from texts to rows.
        gate: tells when the server stops.
        rules: of streams.

    Attributes:
        flow: the stream's way through tokeniser and engine.
    """

    def __init__(  # noqa: PLR0917  each is one of its kind
        self,
        context: Context,
        call: Call,
        arrivals: Arrivals[pb.EmbedRequest],
        embedder: Embedder,
        gate: Gate,
        rules: StreamRules,
    ) -> None:
        self.flow = Flow(embedder, call)
        self._writer = Writer(context, embedder.room, call.client, rules.stalled_seconds)
        self._call = call
        self._ends = Ending(gate, arrivals, rules)
        self._arrivals = arrivals
        # Mutable, the event loop's own: texts by their position in the stream, and what follows.
        self._accepted: dict[int, _Accepted] = {}  # until they are written
        self._ready: dict[int, _Row | RequestError] = {}  # until it is their turn
        self._count = 0
        self._next = 0
        self._open_chunks = 0

    async def serve(self) -> None:
        """Serve the stream to its end: the client's half-close, or an error.

        Raises:
            RequestError: a text was refused, or the stream has to end.
        """
        feeder = asyncio.create_task(self._feed())
        try:
            with self._ends:
                await self._write()
                if self._ends.reason:
                    raise self._ends.reason
        finally:
            await self.flow.close(feeder)

    async def _feed(self) -> None:
        try:
            while await self._arrivals.some():
                while self._should_wait():
                    await self._arrivals.changed()
                if not await self._put(self._arrivals.take()):
                    break
            self.flow.finish()
        except Exception as error:  # noqa: BLE001  the writer tells it to the client
            self.flow.fail(error)

    def _should_wait(self) -> bool:
        """Whether texts wait for company, as those before them keep the device busy."""
        if self._arrivals.is_full or self._arrivals.has_ended:
            return False
        return self._open_chunks >= _OPEN_CHUNKS

    async def _put(self, messages: Iterable[pb.EmbedRequest]) -> bool:
        """Give texts to the flow in runs of equal options; False once one was refused."""
        now = time.monotonic()
        for _, same in groupby(messages, key=wire.options_key):
            run = list(same)
            texts = list(takewhile(bool, (message.inputs for message in run)))
            try:
                plan = self.flow.served.plan(self._call, wire.options_from(run[0]))
                await self.flow.feed(self._accept(texts, now), texts, plan)
                for message in run[len(texts) :]:
                    wire.check_inputs(message.inputs)
            except RequestError as error:
                self._ends.now(error)
                return False
        return True

    def _accept(self, texts: list[str], now: float) -> range:
        ids = range(self._count, self._count + len(texts))
        self._count = ids.stop
        chunk = _Chunk(len(texts))
        self._open_chunks += bool(texts)
        for i, text in zip(ids, texts, strict=True):
            self._accepted[i] = _Accepted(len(text), now, chunk)
        return ids

    async def _write(self) -> None:
        while (answer := await self.flow.next()) is not None:
            assert isinstance(answer, Answer)  # this stream has no notices
            self._keep(answer)
            while row := self._ready.pop(self._next, None):
                if isinstance(row, RequestError):
                    raise row
                await self._writer.write(self._response(row))
                row.part.unwritten -= 1
                if not row.part.unwritten:
                    self.flow.written(row.part.answer)

    def _keep(self, answer: Answer) -> None:
        part = _Part(answer, len(answer.ids))
        data, stride = memoryview(answer.rows.data), row_bytes(answer.form)
        for row, (i, (tokens, _, _)) in enumerate(zip(answer.ids, answer.usage, strict=True)):
            self._ready[i] = _Row(data[row * stride : (row + 1) * stride], tokens, part)
        self._ready.update(answer.errors)
        for i in (*answer.ids, *(i for i, _ in answer.errors)):
            self._answered(self._accepted[i].chunk)

    def _answered(self, chunk: _Chunk) -> None:
        chunk.missing -= 1
        if not chunk.missing:
            self._open_chunks -= 1
            self._arrivals.wake()

    def _response(self, row: _Row) -> pb.EmbedResponse:
        """The answer to the next text."""
        text = self._accepted.pop(self._next)
        self._next += 1
        timings = row.part.answer.timings
        return wire.embed_response(
            row.data, wire.metadata(text.chars, row.tokens, text.began, timings)
        )
