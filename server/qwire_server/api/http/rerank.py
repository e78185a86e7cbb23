"""`/rerank`, `/v1/rerank`, `/v2/rerank`: Jina's and Cohere's shape, or text-embeddings-inference's.

The body tells them apart: `documents`, or `texts`. No policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import orjson
from fastapi import APIRouter
from pydantic import WithJsonSchema
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response

from qwire_server.api.http import names
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import rerank_shape
from qwire_server.api.http.inputs import text_of
from qwire_server.api.http.truncation import (
    Direction,
    Side,
    by_direction,
    by_tokens,
    by_word,
)
from qwire_server.api.reranker import RankOptions
from qwire_server.errors import InvalidRequest
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qwire_server.api.http.guard import Asked, Guard
    from qwire_server.api.served import Served
    from qwire_server.engine.work import RequestClass

_TEXT = {"anyOf": [{"type": "string"}, {"type": "object"}]}
_Query: TypeAlias = Annotated[Any, WithJsonSchema(_TEXT)]
_Documents: TypeAlias = Annotated[Any, WithJsonSchema({"type": "array", "items": _TEXT})]
_Texts: TypeAlias = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "string"}})]


class RerankBody(Body):
    """A request: Jina's, Cohere's, Voyage's and vLLM's fields, then TEI's, then ours."""

    query: _Query
    documents: _Documents = None
    model: str | None = None
    top_n: int | None = None
    top_k: int | None = None
    return_documents: bool | None = None
    truncation: bool | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: Side | None = None
    use_activation: bool | None = None
    activation: bool | None = None
    texts: _Texts = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    truncation_direction: Direction | None = None
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
        name = "documents" if self.texts is None else "texts"
        sent = self.documents if self.texts is None else self.texts
        if not isinstance(sent, list):
            raise InvalidRequest(f"`{name}` must be a list of texts")
        if not sent:
            raise InvalidRequest("nothing to rank: `documents` or `texts` is empty")
        return [text_of(each, name, index) for index, each in enumerate(sent)]

    def options(self, request_class: RequestClass | None) -> RankOptions:
        """The fields in our own words.

        Raises:
            InvalidRequest.
        """
        raw = self.only(
            raw_scores=self.raw_scores,
            use_activation=None if self.use_activation is None else not self.use_activation,
            activation=None if self.activation is None else not self.activation,
        )
        return RankOptions(
            model=names.split(self.model or "")[0] or None,
            instruction=self.instruction,
            truncate=self._truncate(),
            raw_scores=raw is True,
            request_class=request_class,
            expected_fingerprint=self.expected_fingerprint,
        )

    def _truncate(self) -> Truncate:
        if isinstance(self.truncate, str):
            truncate = by_word(self.truncate)
        elif self.truncate is not None or self.truncation_direction is not None:
            truncate = by_direction(self.truncate, self.truncation_direction)
        else:
            truncate = None
        chosen = self.only(
            truncate=truncate,
            truncation=by_word(self.truncation),
            truncate_prompt_tokens=by_tokens(self.truncate_prompt_tokens, self.truncation_side),
        )
        return chosen or Truncate.END

    def most(self) -> int | None:
        """How many results are wanted; None for all.

        Raises:
            InvalidRequest.
        """
        for name, number in (("top_n", self.top_n), ("top_k", self.top_k)):
            if number is not None and number < 1:
                raise InvalidRequest(f"`{name}` must be at least 1")
        return self.only(top_n=self.top_n, top_k=self.top_k)

    def shown(self, *, by_default: bool) -> bool:
        """Whether results hold their texts."""
        wanted = self.only(return_documents=self.return_documents, return_text=self.return_text)
        return by_default if wanted is None else wanted


def ranker(guard: Guard) -> Callable[[Asked, RerankBody], Awaitable[Response]]:
    """The function that answers in the shape that the body asks for."""

    async def rank(asked: Asked, body: RerankBody) -> Response:
        ranked = await _ranked(guard, asked, body)
        if body.texts is not None:
            return _json(_tei(ranked, shown=body.shown(by_default=False)))
        told = _told(asked, ranked, shown=body.shown(by_default=True))
        told["usage"] = {"total_tokens": asked.tokens, "prompt_tokens": asked.tokens}
        # Voyage's clients read this.
        told |= {"object": "list", "data": _results(ranked, shown=False)}
        return _json(told)

    return rank


def routes(guard: Guard) -> APIRouter:
    """The routes, on this guard."""
    router = APIRouter(tags=["rerank"])
    rank = ranker(guard)

    async def rank_v2(asked: Asked, body: RerankBody) -> Response:
        if body.documents is None:
            raise InvalidRequest("send `documents`")
        ranked = await _ranked(guard, asked, body)
        told = _told(asked, ranked, shown=body.shown(by_default=False))
        told["meta"]["api_version"] = {"version": "2"}
        return _json(told)

    async def rerank(request: Request) -> Response:
        """Rank documents by how well they answer a query; the best first."""
        return await guard.answer("/rerank", request, rerank_shape, RerankBody.of, rank)

    async def rerank_v2(request: Request) -> Response:
        """Rank documents, in Cohere's shape."""
        return await guard.answer("/rerank", request, rerank_shape, RerankBody.of, rank_v2)

    for path, answer in {"/rerank": rerank, "/v1/rerank": rerank, "/v2/rerank": rerank_v2}.items():
        documents = documented(RerankBody)
        router.add_api_route(path, answer, methods=["POST"], openapi_extra=documents)
    return router


class _Ranked(NamedTuple):
    texts: list[str]
    order: list[int]
    scores: list[float]
    served: Served


async def _ranked(guard: Guard, asked: Asked, body: RerankBody) -> _Ranked:
    """The texts, the positions of the best of them, and all scores."""
    reranker = guard.gate.reranker()
    texts = body.candidates()
    asked.texts = len(texts)
    options, most = body.options(asked.chosen_class), body.most()
    ranking = await reranker.rerank(asked.call, text_of(body.query, "query"), texts, options)
    asked.tokens, asked.cut = sum(ranking.tokens), sum(ranking.cut)
    return _Ranked(texts, ranking.order(most), ranking.scores, reranker.served)


def _results(ranked: _Ranked, *, shown: bool) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"index": i, "relevance_score": ranked.scores[i]} for i in ranked.order
    ]
    for result in results if shown else ():
        result["document"] = {"text": ranked.texts[result["index"]]}
    return results


def _told(asked: Asked, ranked: _Ranked, *, shown: bool) -> dict[str, Any]:
    return {
        "id": asked.call.request_id,
        "model": ranked.served.model,
        "results": _results(ranked, shown=shown),
        "meta": {"billed_units": {"search_units": 1}},
        "fingerprint": ranked.served.fingerprint,
    }


def _tei(ranked: _Ranked, *, shown: bool) -> list[dict[str, Any]]:
    ranks: list[dict[str, Any]] = [{"index": i, "score": ranked.scores[i]} for i in ranked.order]
    for rank in ranks if shown else ():
        rank["text"] = ranked.texts[rank["index"]]
    return ranks


def _json(told: object) -> Response:
    return Response(orjson.dumps(told), media_type="application/json")
