"""One `RerankStream`: texts with their queries in, all scores at the end."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING

from qwire_server.api.chunk import Answer
from qwire_server.api.flow import Flow
from qwire_server.api.reranker import RankOptions, log_odds_of
from qwire_server.api.tei import wire
from qwire_server.api.timings import NO_TIME, Timings
from qwire_server.errors import RequestTooLarge

if TYPE_CHECKING:
    from qwire_server.api.call import Call
    from qwire_server.api.reranker import Reranker
    from qwire_server.api.tei.arrivals import Arrivals
    from qwire_server.pb.tei.v1 import tei_pb2 as pb

# All scores come in one answer, with the texts if they are asked for, so both are kept till then.
_MOST_TEXTS = 65_536
_MOST_CHARS = 16 * 1024 * 1024


class RerankStream:
    """The stream of one call.

    Args:
        call: whose it is.
        arrivals: of the stream.
        reranker: the way from texts to scores.

    Attributes:
        flow: the stream's way through tokeniser and engine.
        shown: the texts, if the first message asked for them.
        chars: of the texts and their queries.
        timings: of the text that took longest.
    """

    def __init__(
        self, call: Call, arrivals: Arrivals[pb.RerankStreamRequest], reranker: Reranker
    ) -> None:
        self.flow = Flow(reranker.embedder, call)
        self.shown: list[str] | None = None
        self.chars = 0
        self.timings: Timings = NO_TIME
        self._call = call
        self._arrivals = arrivals
        self._reranker = reranker
        self._options: RankOptions | None = None  # the first message's
        self._log_odds: dict[int, float] = {}

    @property
    def log_odds(self) -> list[float]:
        """Of all texts, in their order."""
        return [self._log_odds[i] for i in range(len(self._log_odds))]

    @property
    def raw(self) -> bool:
        """Whether log-odds are wanted as scores, as the first message says."""
        return self._options is not None and self._options.raw_scores

    async def serve(self) -> None:
        """Score all texts up to the client's half-close.

        Raises:
            RequestError: one of them cannot be scored.
        """
        feeder = asyncio.create_task(self._feed())
        try:
            while (answer := await self.flow.next()) is not None:
                assert isinstance(answer, Answer)  # this stream has no notices
                self._keep(answer)
                self.flow.written(answer)
        finally:
            await self.flow.close(feeder)

    async def _feed(self) -> None:
        try:
            while await self._arrivals.some():
                for _, same in groupby(self._arrivals.take(), key=wire.rank_key):
                    await self._put(list(same))
            self.flow.finish()
        except Exception as error:  # noqa: BLE001  `serve` tells it to the client
            self.flow.fail(error)

    async def _put(self, run: list[pb.RerankStreamRequest]) -> None:
        options = wire.rank_options(run[0])
        if self._options is None:
            self._options = options
            self.shown = [] if run[0].return_text else None
        texts = [message.text for message in run]
        self.chars += sum(len(message.query) + len(message.text) for message in run)
        if self.flow.texts + len(texts) > _MOST_TEXTS or self.chars > _MOST_CHARS:
            raise RequestTooLarge(
                f"one ranking has at most {_MOST_TEXTS} texts and {_MOST_CHARS} characters, each "
                "text's query included: rank fewer at a time"
            )
        if self.shown is not None:
            self.shown += texts
        plan = self._reranker.plan(self._call, run[0].query, options)
        first = self.flow.texts
        await self.flow.feed(range(first, first + len(texts)), texts, plan)

    def _keep(self, answer: Answer) -> None:
        for _, error in answer.errors:
            raise error
        self._log_odds.update(zip(answer.ids, log_odds_of(answer.rows), strict=True))
        self.timings = max(self.timings, answer.timings, key=Timings.total)
