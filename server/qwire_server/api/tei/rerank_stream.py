"""One `RerankStream`: texts with their queries in, all scores at the end."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from qwire_server.api.tei import wire
from qwire_server.api.timings import NO_TIME, Timings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qwire_server.api.call import Call
    from qwire_server.api.reranker import Reranker
    from qwire_server.pb.tei.v1 import tei_pb2 as pb


class RerankStream:
    """Scores texts as they come, those of one query together.

    Attributes:
        scores: of the texts so far, in their order.
        shown: the texts, if the first message asked for them.
        chars: of the texts and their queries.
    """

    def __init__(self, call: Call, reranker: Reranker) -> None:
        self.scores: list[float] = []
        self.shown: list[str] | None = None
        self.chars = self.texts = self.tokens = self.cut = 0
        self.timings: Timings = NO_TIME
        self._call = call
        self._reranker = reranker
        self._raw_scores = False

    async def put(self, messages: Iterable[pb.RerankStreamRequest]) -> None:
        """Score the texts of some messages.

        Raises:
            RequestError: one of them cannot be scored.
        """
        for _, same in groupby(messages, key=wire.rank_key):
            await self._put(list(same))

    async def _put(self, run: list[pb.RerankStreamRequest]) -> None:
        if not self.texts:
            self._raw_scores = run[0].raw_scores
            self.shown = [] if run[0].return_text else None
        options = wire.rank_options(run[0], raw_scores=self._raw_scores)
        texts = [message.text for message in run]
        self.texts += len(texts)
        self.chars += sum(len(message.query) + len(message.text) for message in run)
        if self.shown is not None:
            self.shown += texts
        ranking = await self._reranker.rerank(self._call, run[0].query, texts, options)
        self.scores += ranking.scores
        self.tokens += sum(ranking.tokens)
        self.cut += sum(ranking.cut)
        self.timings = self.timings.plus(ranking.timings)
