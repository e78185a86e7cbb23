"""`/rerank`, `/v1/rerank`, `/v2/rerank`: Jina's and Cohere's shape, or text-embeddings-inference's.

The body tells them apart: `documents`, or `texts`. No policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response

from qwire_server.api.http import names
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import rerank_shape
from qwire_server.api.http.truncation import Direction, by_direction, by_word
from qwire_server.api.reranker import RankOptions, ranked
from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.http.guard import Asked, Guard
    from qwire_server.api.reranker import Ranking
    from qwire_server.engine.work import RequestClass


class RerankBody(Body):
    """A request: Jina's and Cohere's fields, then text-embeddings-inference's, then ours."""

    query: str
    documents: list[str | dict[str, Any]] | None = None
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    texts: list[str] | None = None
    return_text: bool = False
    raw_scores: bool = False
    truncation_direction: Direction = "Right"
    truncate: bool | str | None = None
    instruction: str | None = None
    expected_fingerprint: str | None = None

    def candidates(self) -> list[str]:
        """What is to be ranked.

        Raises:
            InvalidRequest: nothing, both, or something without a text.
        """
        if (self.documents is None) == (self.texts is None):
            raise InvalidRequest("send `documents` (Jina, Cohere) or `texts`, one of the two")
        if self.texts is not None:
            return self.texts
        return [_text_of(i, document) for i, document in enumerate(self.documents or ())]

    def options(self, request_class: RequestClass | None) -> RankOptions:
        """The fields in our own words.

        Raises:
            InvalidRequest.
        """
        if self.top_n is not None and self.top_n < 1:
            raise InvalidRequest("`top_n` must be at least 1")
        if isinstance(self.truncate, str):
            truncate = by_word(self.truncate)
        else:
            truncate = by_direction(self.truncate, self.truncation_direction)
        return RankOptions(
            model=names.split(self.model or "")[0] or None,
            instruction=self.instruction,
            truncate=truncate,
            raw_scores=self.raw_scores,
            request_class=request_class,
            expected_fingerprint=self.expected_fingerprint,
        )


def routes(guard: Guard) -> APIRouter:
    """The routes, on this guard."""
    router = APIRouter(tags=["rerank"])

    async def rank(asked: Asked, body: RerankBody) -> Response:
        reranker = guard.gate.reranker()
        texts = body.candidates()
        asked.texts = len(texts)
        options = body.options(asked.chosen_class)
        if not texts:
            raise InvalidRequest("nothing to rank: `documents` or `texts` is empty")
        ranking = await reranker.rerank(asked.call, body.query, texts, options)
        asked.tokens, asked.cut = sum(ranking.tokens), sum(ranking.cut)
        order = ranked(ranking.scores, body.top_n)
        if body.texts is not None:
            told: object = _tei(order, ranking, texts if body.return_text else None)
        else:
            served = reranker.served
            told = {
                "id": asked.call.request_id,
                "model": served.model,
                "results": _results(order, ranking, texts if body.return_documents else None),
                "usage": {"total_tokens": asked.tokens, "prompt_tokens": asked.tokens},
                "meta": {"billed_units": {"search_units": 1}},
                "fingerprint": served.fingerprint,
            }
        return Response(orjson.dumps(told), media_type="application/json")

    async def rerank(request: Request) -> Response:
        """Rank documents by how well they answer a query; the best first."""
        return await guard.answer("/rerank", request, rerank_shape, RerankBody, rank)

    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        documents = documented(RerankBody)
        router.add_api_route(path, rerank, methods=["POST"], openapi_extra=documents)
    return router


def _results(
    order: Sequence[int], ranking: Ranking, texts: list[str] | None
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"index": i, "relevance_score": ranking.scores[i]} for i in order
    ]
    for result in results if texts else ():
        assert texts
        result["document"] = {"text": texts[result["index"]]}
    return results


def _tei(order: Sequence[int], ranking: Ranking, texts: list[str] | None) -> list[dict[str, Any]]:
    ranks: list[dict[str, Any]] = [{"index": i, "score": ranking.scores[i]} for i in order]
    for rank in ranks if texts else ():
        assert texts
        rank["text"] = texts[rank["index"]]
    return ranks


def _text_of(index: int, document: str | dict[str, Any]) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise InvalidRequest("a document is neither a text nor an object with `text`", index=index)
    return text
