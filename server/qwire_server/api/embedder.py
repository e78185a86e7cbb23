"""From texts to rows, for any protocol: check, admit, tokenise, submit, gather.

Every front calls this one; it holds no wire type and no model.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.api.dispatch import Sink
from qwire_server.api.gather import Gather
from qwire_server.api.timings import Stopwatch
from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.queue.estimator import Estimator
from qwire_server.engine.work import NO_ROWS, Work
from qwire_server.text.encoded import Encoded
from qwire_server.text.pool import checked, parts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qwire_server.api.books import Books
    from qwire_server.api.call import Call, Options
    from qwire_server.api.desk import Desk, Hold, Worker
    from qwire_server.api.dispatch import Dispatcher
    from qwire_server.api.served import Plan, Served
    from qwire_server.api.stats import Stats
    from qwire_server.api.timings import Timings
    from qwire_server.engine.queue.cost import CostModel
    from qwire_server.engine.work import RowForm, Rows, TokenIds
    from qwire_server.text.encoder import Encoder
    from qwire_server.text.pool import Pool

_INLINE_CHARS = 256  # 0.2 ms with Qwen3's tokenizer, about what a thread costs there and back


@dataclass(frozen=True, slots=True)
class Reply:
    """Rows of a whole request, in the order of its texts, and what each text took."""

    rows: Rows
    form: RowForm
    tokens: list[int]
    cut: list[int]
    unknown: list[int]
    timings: Timings


class Embedder:
    """The way from texts to rows.

    Args:
        served: the model.
        tokenizer: of the model.
        pool: of threads that tokenise.
        room: lets work in.
        dispatcher: brings outcomes back.
        engine: does the work.
        cost: of the model's work.
        books: of texts.
        stats: how busy the server is, of the one client that is named, or of all.
    """

    def __init__(
        self,
        *,
        served: Served,
        tokenizer: Encoder,
        pool: Pool,
        room: Desk,
        dispatcher: Dispatcher,
        engine: Worker,
        cost: CostModel,
        books: Books,
        stats: Callable[[str | None], Awaitable[Stats]],
    ) -> None:
        self.served = served
        self.room = room
        self._cost = cost
        self.books = books
        self.stats = stats
        self._estimator = Estimator(served.max_tokens)
        self.tokenizer = tokenizer
        self.pool = pool
        self._dispatcher = dispatcher
        self._engine = engine

    def __repr__(self) -> str:
        return f"<Embedder {self.room!r} {self.pool!r} {self._dispatcher!r} {self._engine!r}>"

    async def embed(self, call: Call, texts: Sequence[str], options: Options) -> Reply:
        """Embed texts, all or nothing.

        Raises:
            RequestError: with `index` where one text is to blame.
        """
        return await self.reply(call, self.served.plan(call, options), texts)

    async def reply(self, call: Call, plan: Plan, texts: Sequence[str]) -> Reply:
        """Rows of texts by a plan that is already checked, all or nothing.

        Raises:
            RequestError: with `index` where one text is to blame.
        """
        held, watch = await self.admit(call, plan, texts), Stopwatch()
        try:
            with self.books.request(len(texts)):
                encoded, rows, seconds = await self._embed(call, plan, texts, held, watch)
        finally:
            held.release()
        timings = watch.stop(seconds)
        call.trail.computed(len(texts), encoded.cut, timings)
        return Reply(rows, plan.form, encoded.tokens, encoded.cut, encoded.unknown, timings)

    async def _embed(
        self, call: Call, plan: Plan, texts: Sequence[str], held: Hold, watch: Stopwatch
    ) -> tuple[Encoded, Rows, float]:
        """From admitted texts to their rows, and the seconds that their batches took."""
        encoded = await self.encode(texts, plan)
        watch.encoded()
        for error in encoded.errors.values():
            raise error
        tokens, costs = sum(encoded.tokens), self.costs(encoded.tokens, encoded.shared)
        self.served.check_tokens(tokens)
        await held.become(sum(costs), tokens, call.patience)
        rows, seconds = await self._rows(call, plan, encoded, costs, held.device)
        held.answered(held.cost)
        return encoded, rows, seconds

    async def count(
        self, call: Call, texts: Sequence[str], options: Options
    ) -> tuple[list[int], list[int]]:
        """Tokens of each text, untruncated, and how many of them are unknown."""
        plan = self.served.plan(call, options)
        held = await self.admit(call, plan, texts)
        try:
            parts = await asyncio.gather(
                *(
                    self.pool.run(
                        plan.request_class, self.tokenizer.count, part, plan.prompt, chars=chars
                    )
                    for part, chars in parts_of(texts, plan.prompt)
                )
            )
        finally:
            held.release()
        return [t for tokens, _ in parts for t in tokens], [u for _, us in parts for u in us]

    async def admit(self, call: Call, plan: Plan, texts: Sequence[str]) -> Hold:
        """Check the texts and hold room for what they are likely to need."""
        call.trail.planned(self.served.model, plan.request_class)
        self.served.check_texts(texts)
        cost = sum(self.costs(self.estimate(texts)))
        size = sum(map(sys.getsizeof, texts))
        return await self.room.take(asker(call, plan), cost, size, call.patience)

    def costs(self, tokens: Sequence[int], prefix: int = 0) -> list[int]:
        """Microseconds of device time of texts with so many tokens, `prefix` of them shared."""
        return [self._cost.text(n, prefix) for n in tokens]

    def estimate(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text is likely to have, before it is tokenised."""
        return [self._estimator.tokens(text) for text in texts]

    async def encode(self, texts: Sequence[str], plan: Plan) -> Encoded:
        """Tokenise, off the event loop unless it is quick; errors carry the position in `texts`."""
        if sum(map(len, texts)) + len(texts) * len(plan.prompt) <= _INLINE_CHARS:
            whole = checked(self.tokenizer.encode, texts, plan.prompt, plan.truncate)
        else:
            whole = await self._encode_in_slices(texts, plan)
        self._estimator.learn(texts, sum(whole.tokens) + sum(whole.cut))
        return whole

    async def _encode_in_slices(self, texts: Sequence[str], plan: Plan) -> Encoded:
        run, encode = self.pool.run, self.tokenizer.encode
        parts = await asyncio.gather(
            *(
                run(plan.request_class, encode, part, plan.prompt, plan.truncate, chars=chars)
                for part, chars in parts_of(texts, plan.prompt)
            )
        )
        whole = Encoded()
        for part in parts:
            whole.extend(part)
        return whole

    def submit(
        self,
        call: Call,
        plan: Plan,
        ids: list[TokenIds],
        costs: list[int],
        sink: Sink,
        *,
        device: int,
        shared: int = 0,
    ) -> int:
        """Give texts to the engine; `sink` gets the outcomes until `withdraw`.

        `device`: where room is held for them. `shared`: how many leading tokens are the prompt's,
        and likely those of other works.
        """
        key = self._dispatcher.open(sink)
        self._engine.submit(
            Work(
                key=key,
                token_ids=ids,
                costs=costs,
                form=plan.form,
                model=self.served.model,
                request_class=plan.request_class,
                deadline=call.deadline,
                client=call.client,
                request_id=call.request_id,
                prefix=shared,
                device=device,
            )
        )
        return key

    def withdraw(self, key: int) -> None:
        """Nobody waits for this work any more."""
        self._dispatcher.close(key)
        self._engine.cancel(key)

    async def _rows(
        self, call: Call, plan: Plan, encoded: Encoded, costs: list[int], device: int
    ) -> tuple[Rows, float]:
        """Rows of a whole request, and the seconds that its batches took."""
        if not encoded.ids:
            return NO_ROWS, 0.0
        gather = Gather(len(encoded.ids), plan.form)
        sink = Sink(gather.add, gather.fail)
        key = self.submit(
            call, plan, encoded.ids, costs, sink, device=device, shared=encoded.shared
        )
        try:
            return await gather.whole, gather.seconds
        finally:
            self.withdraw(key)


def asker(call: Call, plan: Plan) -> Asker:
    """Whose work a request is."""
    return Asker(call.client, plan.request_class)
