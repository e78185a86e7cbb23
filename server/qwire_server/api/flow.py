"""One stream, for any protocol: chunks of texts in, rows out as they are ready.

A text is in flight from its receipt until its reply is written; `put` does not return while more
than a bounded number of this stream's tokens is in flight, so both sides stay flat in memory.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from qwire_server.api.chunk import Answer, Chunk
from qwire_server.api.dispatch import Sink
from qwire_server.api.embedder import asker
from qwire_server.api.timings import Stopwatch
from qwire_server.engine.work import NO_ROWS
from qwire_server.errors import Internal, RequestError
from qwire_server.text.pool import slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qwire_server.api.call import Call, Options
    from qwire_server.api.desk import Hold
    from qwire_server.api.embedder import Embedder
    from qwire_server.api.served import Plan
    from qwire_server.engine.work import Outcome
    from qwire_server.text.encoded import Encoded


_LOG = logging.getLogger("qwire.server")


class Notice(Enum):
    """What a server may tell beside answers; the names are those of `qwire.v1.Notice`."""

    DRAINING = "DRAINING"
    RECONNECT = "RECONNECT"
    ALIVE = "ALIVE"


class Flow:
    """One stream of texts.

    `put`, `finish` and `fail` are the reader's, `next` and `written` the writer's.
    Everything mutable belongs to the event loop.
    """

    def __init__(self, embedder: Embedder, call: Call) -> None:
        self.texts = 0  # received
        self.tokens = 0  # computed
        self.cut = 0
        self.served = embedder.served
        self.desk = embedder.room
        self.client = call.client
        self._embedder = embedder
        self._call = call
        self._books = embedder.books
        self._window = embedder.served.limits.stream_tokens
        self._texts_in_flight = 0
        self._tokens_in_flight = 0
        self._finished = False
        self._shrunk = asyncio.Event()
        self._ready: asyncio.Queue[Answer | Notice | Exception | None] = asyncio.Queue()
        self._chunks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Flow {self._texts_in_flight} texts, {self._tokens_in_flight} tokens in flight>"

    @property
    def is_busy(self) -> bool:
        """Whether anything received is not yet written."""
        return self._texts_in_flight > 0

    async def put(self, ids: Sequence[int], texts: Sequence[str], options: Options) -> None:
        """Take a chunk; returns when the next one may be read.

        Raises:
            RequestError: the options fit no text of the stream.
        """
        await self.feed(ids, texts, self.served.plan(self._call, options))

    async def feed(self, ids: Sequence[int], texts: Sequence[str], plan: Plan) -> None:
        """The same by a plan that is already checked."""
        self._call.trail.planned(self.served.model, plan.request_class)
        self.texts += len(texts)
        self._texts_in_flight += len(texts)
        self._books.accepted += len(texts)
        # No slice is larger than a batch: the queue is filled to its bound, not far beyond it.
        sizes = self._embedder.estimate(texts)
        for part in slices(sizes, self.served.limits.batch_tokens):
            chunk = Chunk(plan, list(ids[part]), list(texts[part]))
            await self._start(chunk, sizes[part])
            while self._tokens_in_flight > self._window:
                self._shrunk.clear()
                await self._shrunk.wait()

    def notify(self, notice: Notice) -> None:
        """Send a notice after what is ready."""
        self._ready.put_nowait(notice)

    def finish(self) -> None:
        """No more texts come; the stream ends when all are answered."""
        self._finished = True
        self._end_if_done()

    def fail(self, error: Exception) -> None:
        """The stream ends with this error, after what is ready."""
        self._ready.put_nowait(error)

    async def next(self) -> Answer | Notice | None:
        """The next thing to write; None at the end.

        Raises:
            RequestError: the call must end now.
            Exception: what `fail` was given.
        """
        ready = await self._ready.get()
        self._call.check()
        if isinstance(ready, Exception):
            raise ready
        return ready

    def written(self, answer: Answer) -> None:
        """An answer is out: its texts are in flight no more."""
        cut, errors = [used[1] for used in answer.usage], tuple(e.code for _, e in answer.errors)
        self._call.trail.wrote(answer.texts, cut, errors, answer.timings, answer.ready)
        self._texts_in_flight -= answer.texts
        self._books.answered += len(answer.ids)
        self._books.failed += len(answer.errors)
        self._shrink(answer.tokens)
        self._end_if_done()

    async def close(self, *feeders: asyncio.Task[None]) -> None:
        """Drop what nobody waits for any more, and cancel the tasks that put texts in.

        All of it before the first wait: a stopping server cancels who closes a second time.
        """
        tasks = [*feeders, *self._chunks]
        for task in tasks:
            task.cancel()
        self._books.abandoned += self._texts_in_flight
        self._texts_in_flight = 0
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, chunk: Chunk, sizes: list[int]) -> None:
        estimate = sum(sizes)
        sized = [self.served.text_error(i, t) for i, t in enumerate(chunk.texts)]
        if any(sized):
            self._answer_errors(chunk, {i: error for i, error in enumerate(sized) if error})
            chunk = chunk.without({i for i, error in enumerate(sized) if error})
        cost = sum(self._embedder.costs(sizes))
        held = await self._embedder.room.wait(asker(self._call, chunk.plan), cost)
        self._tokens_in_flight += estimate
        task = asyncio.create_task(self._run(chunk, held, estimate))
        self._chunks.add(task)
        # Not in the task itself: one that is cancelled before its first step never runs at all.
        task.add_done_callback(lambda _: held.release())
        task.add_done_callback(self._ended)

    async def _run(self, chunk: Chunk, held: Hold, estimate: int) -> None:
        """One chunk, from tokenising to its last answer."""
        key, watch = None, Stopwatch()
        try:
            encoded = await self._encode(chunk)
            if encoded is None:
                self._shrink(estimate)
                return
            tokens, shared = sum(encoded.tokens), encoded.shared
            costs = self._embedder.costs(encoded.tokens, shared)
            await held.become(sum(costs), tokens)
            self.tokens += tokens
            self.cut += sum(encoded.cut)
            self._shrink(estimate - tokens)
            if encoded.errors:
                self._answer_errors(chunk, encoded.errors)
                chunk = chunk.without(set(encoded.errors))
            chunk.expect(encoded, costs, watch)
            if chunk.texts:
                sink = Sink(partial(self._answer, chunk, held), self.fail)
                key = self._embedder.submit(
                    self._call,
                    chunk.plan,
                    chunk.token_ids,
                    chunk.costs,
                    sink,
                    device=held.device,
                    shared=shared,
                )
                await chunk.answered.wait()
        finally:
            if key is not None:
                self._embedder.withdraw(key)

    async def _encode(self, chunk: Chunk) -> Encoded | None:
        """The tokens of a chunk; None once its texts are answered that the tokenizer failed."""
        try:
            return await self._embedder.encode(chunk.texts, chunk.plan)
        except RequestError:
            raise
        except Exception:  # noqa: BLE001  told to each text of the chunk
            request_id = self._call.request_id
            _LOG.exception("request %s: the tokenizer failed", request_id)
            told = f"the tokenizer failed: the server's log tells more of request {request_id}"
            self._answer_errors(chunk, {i: Internal(told) for i in range(len(chunk.texts))})
            return None

    def _answer(self, chunk: Chunk, held: Hold, outcome: Outcome) -> None:
        """Called in the event loop with the outcome of one batch."""
        answer = chunk.answer(outcome)
        self._ready.put_nowait(answer)
        held.answered(answer.cost)

    def _answer_errors(self, chunk: Chunk, errors: Mapping[int, RequestError]) -> None:
        by_id = [(chunk.ids[i], error) for i, error in errors.items()]
        self._ready.put_nowait(Answer([], NO_ROWS, chunk.plan.form, [], by_id, tokens=0))

    def _shrink(self, tokens: int) -> None:
        self._tokens_in_flight -= tokens
        self._shrunk.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._chunks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fail(error)

    def _end_if_done(self) -> None:
        if self._finished and not self._texts_in_flight:
            self._ready.put_nowait(None)
