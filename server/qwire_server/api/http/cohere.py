"""Cohere's `/v1/embed` and `/v2/embed`. Unpacks, calls the embedder, packs; no policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import WithJsonSchema
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response  # noqa: TC002

from qwire_server.api.call import Options
from qwire_server.api.http import names, vectors
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import rerank_shape
from qwire_server.api.http.inputs import Input, texts_of
from qwire_server.api.http.reply import PartsResponse
from qwire_server.api.http.truncation import by_word
from qwire_server.errors import InvalidRequest
from qwire_server.text.prompts import InputType
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from qwire_server.api.http.guard import Asked, Guard

_Types = Annotated[Any, WithJsonSchema({"type": "array", "items": {"enum": ["float", "base64"]}})]


class CohereEmbedBody(Body):
    """A request to `/v1/embed` or `/v2/embed`: Cohere's fields, and ours after them."""

    texts: Input
    model: str | None = None
    input_type: str | None = None
    embedding_types: _Types = None
    truncate: str | None = None
    output_dimension: int | None = None
    instruction: str | None = None
    expected_fingerprint: str | None = None

    def options(self) -> Options:
        """The fields in our own words.

        Raises:
            InvalidRequest.
        """
        model, suffix = names.split(self.model or "")
        side = names.side_of("input_type", self.input_type)
        return Options(
            model=model or None,
            expected_fingerprint=self.expected_fingerprint,
            input_type=side or suffix or InputType.DOCUMENT,
            instruction=self.instruction,
            dimensions=self.output_dimension,
            truncate=by_word(self.truncate) or Truncate.END,
        )

    def types(self) -> list[str]:
        """The encodings that are wanted; empty where the body names none.

        Raises:
            InvalidRequest.
        """
        wanted = self.embedding_types or []
        if not isinstance(wanted, list) or any(one not in ("float", "base64") for one in wanted):
            raise InvalidRequest("`embedding_types` may hold float and base64 (of float32)")
        return list(dict.fromkeys(wanted))


def routes(guard: Guard) -> APIRouter:
    """The routes, on this guard."""
    router = APIRouter(tags=["Cohere"])

    async def embed(asked: Asked, body: CohereEmbedBody, *, bare: bool) -> Response:
        """Embed; `bare` where vectors stand without their type unless a type is named."""
        embedder = guard.gate.embedder()
        options, types = body.options(), body.types()
        texts = await texts_of(body.texts, "texts", None)
        options = replace(options, request_class=asked.count(len(texts)))
        reply = await embedder.embed(asked.call, texts, options)
        asked.tokens, asked.cut = sum(reply.tokens), sum(reply.cut)
        rows = {
            one: await vectors.written(reply.rows, reply.form.dimensions, base64=one == "base64")
            for one in types or ["float"]
        }
        told = {
            "id": asked.call.request_id,
            "response_type": "embeddings_floats" if bare and not types else "embeddings_by_type",
            "texts": texts,
            "meta": {
                "api_version": {"version": "1" if bare else "2"},
                "billed_units": {"input_tokens": asked.tokens},
            },
            "fingerprint": embedder.served.fingerprint,
        }
        pieces = [orjson.dumps(told)[:-1], b',"embeddings":']
        if bare and not types:
            pieces += [*vectors.listed(rows["float"]), b"}"]
        else:
            for i, (name, each) in enumerate(rows.items()):
                pieces += [b'%b"%b":' % (b"," if i else b"{", name.encode()), *vectors.listed(each)]
            pieces.append(b"}}")
        return PartsResponse(pieces, {})

    async def embed_v1(asked: Asked, body: CohereEmbedBody) -> Response:
        return await embed(asked, body, bare=True)

    async def embed_v2(asked: Asked, body: CohereEmbedBody) -> Response:
        return await embed(asked, body, bare=False)

    @router.post("/v1/embed", openapi_extra=documented(CohereEmbedBody))
    async def v1(request: Request) -> Response:
        """Embed a list of texts, in the shape of Cohere's first interface."""
        of = CohereEmbedBody.of
        return await guard.answer("/v1/embed", request, rerank_shape, of, embed_v1)

    @router.post("/v2/embed", openapi_extra=documented(CohereEmbedBody))
    async def v2(request: Request) -> Response:
        """Embed a list of texts, in the shape of Cohere's second interface."""
        of = CohereEmbedBody.of
        return await guard.answer("/v2/embed", request, rerank_shape, of, embed_v2)

    return router
