"""From a query and documents to scores, for any protocol.

Documents take the same way as texts that are embedded; their rows have one value, the log-odds of
"yes, this document is what was asked for". Sorting is the fronts'; `ranked` does it for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwire_server.api.served import Plan, check_instruction
from qwire_server.api.timings import NO_TIME
from qwire_server.engine.work import RowForm
from qwire_server.errors import TextTooLarge
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.call import Call
    from qwire_server.api.embedder import Embedder
    from qwire_server.api.served import Served
    from qwire_server.api.timings import Timings
    from qwire_server.engine.work import RequestClass, Rows
    from qwire_server.text.pairs import PairPrompt

_FORM = RowForm(dimensions=1, normalize=False)


@dataclass(frozen=True, slots=True)
class RankOptions:
    """How documents are to be scored; the fields are those of `qwire.v1.RerankOptions`."""

    model: str | None = None
    instruction: str | None = None
    truncate: Truncate = Truncate.END
    raw_scores: bool = False
    request_class: RequestClass | None = None
    expected_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of a whole request, and what each document took, in the order of the documents.

    Attributes:
        scores: from 0 to 1, or log-odds if raw ones were asked for.
        log_odds: values that decide the order; probabilities of those above 37 are all equal.
        tokens: computed, prompt and query included.
        cut: left out of the document.
    """

    scores: list[float]
    log_odds: list[float]
    tokens: list[int]
    cut: list[int]
    timings: Timings = NO_TIME

    def order(self, top_n: int | None = None) -> list[int]:
        """Positions of the documents, the best first, at most `top_n` of them."""
        return ranked(self.log_odds, top_n)


class Reranker:
    """The way from a query and documents to scores.

    Args:
        embedder: of the reranking model; its rows have one value.
        prompt: what is put before a document.
    """

    def __init__(self, embedder: Embedder, prompt: PairPrompt) -> None:
        self.embedder = embedder
        self.prompt = prompt

    def __repr__(self) -> str:
        return f"<Reranker {self.embedder!r}>"

    @property
    def served(self) -> Served:
        """The model in service and the limits of this server."""
        return self.embedder.served

    async def rerank(
        self, call: Call, query: str, documents: Sequence[str], options: RankOptions
    ) -> Ranking:
        """Score documents, all or nothing.

        Raises:
            RequestError: with `index` where one document is to blame.
        """
        plan = self.plan(call, query, options)
        reply = await self.embedder.reply(call, plan, documents)
        log_odds = log_odds_of(reply.rows)
        scores = log_odds if options.raw_scores else scores_of(log_odds)
        return Ranking(scores, log_odds, reply.tokens, reply.cut, reply.timings)

    def plan(self, call: Call, query: str, options: RankOptions) -> Plan:
        """Check a query and its options.

        Raises:
            ModelNotFound, FingerprintMismatch, InvalidRequest, TextTooLarge.
        """
        self.served.check_identity(options.model, options.expected_fingerprint)
        check_instruction(options.instruction)
        if error := self.served.text_error(0, query):
            raise TextTooLarge(f"the query: {error.message}")
        return Plan(
            form=_FORM,
            prompt=self.prompt.before_document(query, options.instruction),
            truncate=options.truncate,
            request_class=options.request_class or call.default_class,
        )


def log_odds_of(rows: Rows) -> list[float]:
    """Log-odds of finished rows, in their order."""
    log_odds: list[float] = np.frombuffer(rows.data, "<f4").tolist()
    return log_odds


def scores_of(log_odds: Sequence[float]) -> list[float]:
    """The same as numbers from 0 to 1."""
    return [_sigmoid(x) for x in log_odds]


def ranked(log_odds: Sequence[float], top_n: int | None = None) -> list[int]:
    """Positions by falling log-odds, at most `top_n` of them; equal ones keep their order."""
    order = sorted(range(len(log_odds)), key=lambda i: log_odds[i], reverse=True)
    return order if top_n is None else order[:top_n]


def _sigmoid(x: float) -> float:
    """In double precision, and without overflow on either side."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
