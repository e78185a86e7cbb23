"""A slice of a stream, and what it is answered. Knows no wire types, and waits for nobody."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwire_server.api.gather import error_of
from qwire_server.api.timings import NO_TIME, Stopwatch, Timings

if TYPE_CHECKING:
    from qwire_server.api.served import Plan
    from qwire_server.engine.work import Outcome, RowForm, Rows, TokenIds
    from qwire_server.errors import RequestError
    from qwire_server.text.encoded import Encoded


@dataclass(frozen=True, slots=True)
class Answer:
    """Some texts of a stream: row i belongs to `ids[i]`; the texts of `errors` have none."""

    ids: list[int]
    rows: Rows
    form: RowForm
    usage: list[tuple[int, int, int]]  # tokens, cut, unknown; parallel to ids
    errors: list[tuple[int, RequestError]]
    tokens: int  # of all these texts; in flight until this is written
    cost: int = 0  # of all these texts, microseconds of device time
    timings: Timings = NO_TIME
    ready: float = field(default_factory=time.monotonic)

    @property
    def texts(self) -> int:
        """Texts that this answers."""
        return len(self.ids) + len(self.errors)


class Chunk:
    """A slice of a stream that is tokenised and submitted as one work."""

    def __init__(self, plan: Plan, ids: list[int], texts: list[str]) -> None:
        self.plan = plan
        self.ids = ids
        self.texts = texts
        self.token_ids: list[TokenIds] = []
        self.costs: list[int] = []
        self.answered = asyncio.Event()
        self._usage: list[tuple[int, int, int]] = []
        self._watch = Stopwatch()
        self._missing = len(texts)

    def without(self, dropped: set[int]) -> Chunk:
        """The same slice less some of its texts."""
        kept = [i for i in range(len(self.texts)) if i not in dropped]
        return Chunk(self.plan, [self.ids[i] for i in kept], [self.texts[i] for i in kept])

    def expect(self, encoded: Encoded, costs: list[int], watch: Stopwatch) -> None:
        """Take the tokens of the texts that are left, right after they were encoded."""
        watch.encoded()
        self._watch = watch
        kept = [i for i in range(len(encoded.ids)) if i not in encoded.errors]
        tokens, cut, unknown = encoded.tokens, encoded.cut, encoded.unknown
        self.token_ids = [encoded.ids[i] for i in kept]
        self.costs = [costs[i] for i in kept]
        self._usage = [(tokens[i], cut[i], unknown[i]) for i in kept]

    def answer(self, outcome: Outcome) -> Answer:
        """What the outcome of one batch means for this slice."""
        failed = [f.index for f in outcome.failures]
        self._missing -= len(outcome.indices) + len(failed)
        if not self._missing:
            self.answered.set()
        return Answer(
            ids=[self.ids[i] for i in outcome.indices],
            rows=outcome.rows,
            form=self.plan.form,
            usage=[self._usage[i] for i in outcome.indices],
            errors=[(self.ids[f.index], error_of(f)) for f in outcome.failures],
            tokens=sum(self._usage[i][0] for i in (*outcome.indices, *failed)),
            cost=sum(self.costs[i] for i in (*outcome.indices, *failed)),
            timings=self._watch.stop(outcome.seconds),
        )
