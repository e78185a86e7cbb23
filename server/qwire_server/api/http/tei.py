"""`/embed`, `/info` and `POST /` as text-embeddings-inference answers them. No policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response  # noqa: TC002

from qwire._version import __version__
from qwire_server.api.call import Options
from qwire_server.api.http import names, vectors
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import tei_shape
from qwire_server.api.http.inputs import Input, texts_of
from qwire_server.api.http.lock import check_scope
from qwire_server.api.http.reply import PartsResponse
from qwire_server.api.http.rerank import RerankBody, ranker
from qwire_server.api.http.truncation import Direction, by_direction
from qwire_server.security.scopes import EMBED, RERANK

if TYPE_CHECKING:
    from qwire_server.api.http.guard import Asked, Guard
    from qwire_server.api.served import Served
    from qwire_server.api.timings import Timings


_POOLINGS = {"last": "last_token"}  # the others have the same name there


class EmbedBody(Body):
    """A request to `/embed`; the model and the format are Hugging Face's own client's."""

    inputs: Input
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Direction | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    encoding_format: vectors.Format = None
    model: str | None = None

    def options(self) -> Options:
        """The fields in our own words."""
        return Options(
            model=names.split(self.model or "")[0] or None,
            prompt_name=self.prompt_name,
            dimensions=self.dimensions,
            normalize=self.normalize is not False,
            truncate=by_direction(self.truncate, self.truncation_direction),
        )


def routes(guard: Guard, tokenizer_threads: int) -> APIRouter:
    """The routes, on this guard."""
    router, gate, rank = APIRouter(tags=["text-embeddings-inference"]), guard.gate, ranker(guard)

    async def embed(asked: Asked, body: EmbedBody) -> Response:
        embedder = gate.embedder()
        in_base64 = vectors.is_base64("encoding_format", body.encoding_format)
        texts = await texts_of(body.inputs, "inputs", guard.decoder(asked))
        options = replace(body.options(), request_class=asked.count(len(texts)))
        reply = await embedder.embed(asked.call, texts, options)
        asked.tokens, asked.cut = sum(reply.tokens), sum(reply.cut)
        rows = await vectors.written(reply.rows, reply.form.dimensions, base64=in_base64 is True)
        headers = _headers(sum(map(len, texts)), asked.tokens, reply.timings)
        return PartsResponse(list(vectors.listed(rows)), headers)

    @router.post("/embed", openapi_extra=documented(EmbedBody))
    async def embed_route(request: Request) -> Response:
        """Embed a text or a list of texts."""
        return await guard.answer("/embed", request, tei_shape, EmbedBody.of, embed)

    @router.post("/", include_in_schema=False)
    async def root_route(request: Request) -> Response:
        """`/embed` or `/rerank`, as the body says; Hugging Face's clients post here."""

        async def either(asked: Asked, body: EmbedBody | RerankBody) -> Response:
            if isinstance(body, RerankBody):
                check_scope(request.scope, RERANK)
                return await rank(asked, body)
            check_scope(request.scope, EMBED)
            return await embed(asked, body)

        return await guard.answer("/", request, tei_shape, _either_body, either)

    @router.get("/info")
    async def info() -> dict[str, Any]:
        """What is served."""
        embedder, reranker = gate.models()
        if embedder:
            pooling = _POOLINGS.get(embedder.served.pooling, embedder.served.pooling)
            return _info(embedder.served, {"embedding": {"pooling": pooling}}, tokenizer_threads)
        assert reranker, "an open gate has one of the two"
        labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        return _info(reranker.served, {"reranker": labels}, tokenizer_threads)

    return router


def _either_body(sent: object) -> EmbedBody | RerankBody:
    ranks = isinstance(sent, dict) and "inputs" not in sent and "query" in sent
    return RerankBody.of(sent) if ranks else EmbedBody.of(sent)


def _headers(characters: int, tokens: int, took: Timings) -> dict[str, str]:
    """What a request used; times in milliseconds."""
    times = {
        "x-total-time": took.total(),
        "x-tokenization-time": took.tokenize,
        "x-queue-time": took.queue,
        "x-inference-time": took.compute,
    }
    used = {"x-compute-characters": str(characters), "x-compute-tokens": str(tokens)}
    return used | {name: str(round(seconds * 1000)) for name, seconds in times.items()}


def _info(served: Served, model_type: dict[str, Any], tokenizer_threads: int) -> dict[str, Any]:
    return {
        "model_id": served.model,
        "model_sha": served.revision,
        "model_dtype": served.dtype,
        "model_type": model_type,
        "max_concurrent_requests": served.limits.max_texts,  # as over gRPC
        "max_input_length": served.max_tokens,
        "max_batch_tokens": served.limits.batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": served.limits.max_texts,
        "auto_truncate": True,
        "tokenization_workers": tokenizer_threads,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
