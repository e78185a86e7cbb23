"""One `rerank` call: its requests, and its replies put together. Does no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwire.errors import FingerprintMismatchError, InvalidTextError, ServerError
from qwire.fingerprint import difference
from qwire.jobs import Request, Texts
from qwire.options import check_count, check_string
from qwire.results import check_finite, read_counts
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb

_CHANGED = "the reranker behind the target changed, or several servers share it"


@dataclass(frozen=True)
class RankedDocument:
    """A document's place in a ranking.

    Attributes:
        index: its position in the caller's list.
        score: how likely it is what the query asks for, 0 to 1; log-odds if raw ones were asked
            for.
        document: its text, if it was asked for.
    """

    index: int
    score: float
    document: str | None = None


@dataclass(frozen=True, eq=False)
class Ranking:
    """Documents by falling score; iterates and indexes as `.results`.

    Attributes:
        results: best first, equal scores in the caller's order; at most `top_n`.
        scores: float64 `(n,)` of all documents, in the caller's order.
        tokens: int64 `(n,)`, tokens computed, prompt and query included.
        truncated: int64 `(n,)`, tokens cut off each document.
        model: the reranker as the server names it.
        fingerprint: changes whenever the scores may.
    """

    results: list[RankedDocument]
    scores: NDArray[np.float64]
    tokens: NDArray[np.int64]
    truncated: NDArray[np.int64]
    model: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[RankedDocument]:
        return iter(self.results)

    def __getitem__(self, index: int) -> RankedDocument:
        return self.results[index]

    def __repr__(self) -> str:
        return f"<Ranking {len(self.results)} of {len(self.scores)} documents by {self.model}>"


@dataclass(frozen=True, eq=False)
class PartialScores:
    """Scores of a list that came before its call failed; the `partial` of its error.

    Attributes:
        indices: int64 `(k,)`, positions in the caller's list, rising.
        scores: float64 `(k,)`.
    """

    indices: NDArray[np.intp]
    scores: NDArray[np.float64]


class RerankJob:
    """A `rerank` call.

    The client cuts and sorts: a server sees a part of a long list, and is asked for all its scores.
    It is asked for log-odds, because probabilities are all 1 above log-odds of 37 and would tie.

    Raises:
        InvalidTextError: a document is bad.
        InvalidRequestError: the query or `top_n` is.
    """

    def __init__(
        self,
        query: str,
        documents: Sequence[str],
        options: rank_pb.RerankOptions,
        *,
        top_n: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        if isinstance(documents, (str, bytes)):
            raise InvalidTextError(
                f"documents must be a list of strings, not one {type(documents).__name__}: "
                "put it in a list"
            )
        self.texts = Texts(documents, batch_size)
        self.query = check_string("query", query)
        self.options = options
        self._raw_scores = options.raw_scores
        options.raw_scores = True
        self._top_n = None if top_n is None else check_count("top_n", top_n)
        self._scores = np.full(len(self.texts.texts), np.nan)
        self._usage = np.zeros((2, len(self.texts.texts)), np.int64)  # tokens, cut
        self._fingerprint = options.expected_fingerprint
        self._model = ""

    def requests(self) -> Iterator[Request]:
        """What to send, made one by one so that a long list is not held twice."""
        if not self.options.request_class:
            split = len(self.texts.runs) > 1
            self.options.request_class = (
                pb.REQUEST_CLASS_BULK if split else pb.REQUEST_CLASS_INTERACTIVE
            )
        for run in self.texts.runs:
            yield Request(
                rank_pb.RerankRequest(
                    options=self.options, query=self.query, documents=self.texts.of(run)
                ),
                run,
            )

    def collect(self, run: range, reply: rank_pb.RerankResponse) -> None:
        """Take one reply, in any order.

        Raises:
            ServerError: it contradicts the request, or a score is NaN or infinite.
            FingerprintMismatchError: it comes from another reranker than the replies before it.
        """
        self._check_fingerprint(reply)
        indices = sorted(result.index for result in reply.results)
        if indices != list(range(len(run))):
            raise ServerError("the reply contradicts the request: not one score for each document")
        scores = np.empty(len(run))
        for result in reply.results:
            scores[result.index] = result.score
        self._put(slice(run.start, run.stop), scores, reply.usage)

    def collect_stream(self, positions: Sequence[int], reply: rank_pb.RerankStreamResponse) -> None:
        """Take one reply of a stream, with the scores of the documents at these positions.

        Errors are those of `collect`.
        """
        self._check_fingerprint(reply)
        if len(reply.scores) != len(positions):
            raise ServerError("the reply contradicts the request: not one score for each document")
        self._put(list(positions), np.array(reply.scores), reply.usage)

    def _check_fingerprint(
        self, reply: rank_pb.RerankResponse | rank_pb.RerankStreamResponse
    ) -> None:
        if not reply.fingerprint and isinstance(reply, rank_pb.RerankStreamResponse):
            return  # only the first reply of a stream says
        if self._fingerprint and reply.fingerprint != self._fingerprint:
            raise FingerprintMismatchError(
                f"scores of fingerprint {reply.fingerprint!r} came, not of {self._fingerprint!r}: "
                f"{difference(self._fingerprint, reply.fingerprint) or _CHANGED}"
            )
        self._fingerprint, self._model = reply.fingerprint, reply.model

    def _put(self, at: slice | list[int], scores: NDArray[np.float64], usage: pb.TextUsage) -> None:
        check_finite(scores)
        self._scores[at] = scores
        self._usage[0, at] = read_counts("tokens", usage.tokens, len(scores))
        self._usage[1, at] = read_counts("cut", usage.cut, len(scores))
        self.texts.answered[at] = True

    def partial(self) -> PartialScores | None:
        """The answers so far; None if there are none."""
        indices = np.flatnonzero(self.texts.answered)
        return PartialScores(indices, self._shown(self._scores[indices])) if len(indices) else None

    def result(self, *, return_documents: bool) -> Ranking:
        """All replies as one."""
        order = np.argsort(-self._scores, kind="stable")[: self._top_n].tolist()
        texts = self.texts.texts
        scores = self._shown(self._scores)
        return Ranking(
            results=[
                RankedDocument(i, float(scores[i]), texts[i] if return_documents else None)
                for i in order
            ],
            scores=scores,
            tokens=self._usage[0],
            truncated=self._usage[1],
            model=self._model,
            fingerprint=self._fingerprint,
        )

    def _shown(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores as the caller asked for them."""
        if self._raw_scores:
            return log_odds
        return np.array([_probability(each) for each in log_odds.tolist()], np.float64)


def _probability(log_odds: float) -> float:
    """Sigmoid as the server has it: in double precision, without overflow on either side."""
    small = math.exp(-abs(log_odds))
    return 1 / (1 + small) if log_odds >= 0 else small / (1 + small)
