"""One `rerank` call: its requests, and its replies put together. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwire.errors import FingerprintMismatchError, InvalidTextError, ServerError
from qwire.fingerprint import difference
from qwire.jobs import Request, Texts
from qwire.options import check_count, check_string
from qwire.results import check_finite, read_counts
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

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


class RerankJob:
    """A `rerank` call.

    The client cuts and sorts: a server sees a part of a long list, and is asked for all its scores.

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
        self._query = check_string("query", query)
        self.options = options
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
                    options=self.options, query=self._query, documents=self.texts.of(run)
                ),
                run,
            )

    def collect(self, run: range, reply: rank_pb.RerankResponse) -> None:
        """Take one reply, in any order.

        Raises:
            ServerError: it contradicts the request, or a score is NaN or infinite.
            FingerprintMismatchError: it comes from another reranker than the replies before it.
        """
        if self._fingerprint and reply.fingerprint != self._fingerprint:
            raise FingerprintMismatchError(
                f"scores of fingerprint {reply.fingerprint!r} came, not of {self._fingerprint!r}: "
                f"{difference(self._fingerprint, reply.fingerprint) or _CHANGED}"
            )
        self._fingerprint, self._model = reply.fingerprint, reply.model
        indices = sorted(result.index for result in reply.results)
        if indices != list(range(len(run))):
            raise ServerError("the reply contradicts the request: not one score for each document")
        for result in reply.results:
            self._scores[run.start + result.index] = result.score
        check_finite(self._scores[run.start : run.stop])
        at = slice(run.start, run.stop)
        self._usage[0, at] = read_counts("tokens", reply.usage.tokens, len(run))
        self._usage[1, at] = read_counts("cut", reply.usage.cut, len(run))

    def result(self, *, return_documents: bool) -> Ranking:
        """All replies as one."""
        order = np.argsort(-self._scores, kind="stable")[: self._top_n].tolist()
        texts = self.texts.texts
        return Ranking(
            results=[
                RankedDocument(i, float(self._scores[i]), texts[i] if return_documents else None)
                for i in order
            ],
            scores=self._scores,
            tokens=self._usage[0],
            truncated=self._usage[1],
            model=self._model,
            fingerprint=self._fingerprint,
        )
