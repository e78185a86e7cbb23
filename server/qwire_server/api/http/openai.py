"""OpenAI's `/v1/embeddings` and `/v1/models`. Unpacks, calls the embedder, packs; no policy."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response

from qwire_server.api.call import Options
from qwire_server.api.http import names, vectors
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import openai_shape
from qwire_server.api.http.inputs import Input, texts_of
from qwire_server.api.http.listing import listed
from qwire_server.api.http.truncation import by_word
from qwire_server.errors import InvalidRequest, ModelNotFound

if TYPE_CHECKING:
    from qwire_server.api.embedder import Reply
    from qwire_server.api.http.guard import Asked, Guard
    from qwire_server.api.served import Served
    from qwire_server.api.timings import Timings


class EmbeddingsBody(Body):
    """A request to `/v1/embeddings`: OpenAI's fields, and ours after `user`."""

    input: Input
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: object = None
    input_type: str | None = Field(None, description=f"one of {names.SIDES}")
    instruction: str | None = Field(None, description="the task, in the model's own template")
    prompt_name: str | None = Field(None, description="of a prompt, instead of the two above")
    truncate: str | None = Field(None, description="end (default), start or none")
    normalize: bool = True
    expected_fingerprint: str | None = None

    def options(self) -> Options:
        """The fields in our own words.

        Raises:
            InvalidRequest.
        """
        model, side = names.split(self.model or "")
        if self.input_type is not None and not (side := names.side_of(self.input_type)):
            raise InvalidRequest(f"`input_type` may be one of {names.SIDES}")
        return Options(
            model=model or None,
            expected_fingerprint=self.expected_fingerprint,
            input_type=side,
            instruction=self.instruction,
            prompt_name=self.prompt_name,
            dimensions=self.dimensions,
            normalize=self.normalize,
            truncate=by_word(self.truncate),
        )


def routes(guard: Guard) -> APIRouter:
    """The routes, on this guard."""
    router, gate, started = APIRouter(tags=["OpenAI"]), guard.gate, int(time.time())

    async def embed(asked: Asked, body: EmbeddingsBody) -> Response:
        embedder = gate.embedder()
        texts = await texts_of(body.input, "input", guard.decoder(asked))
        options = replace(body.options(), request_class=asked.count(len(texts)))
        reply = await embedder.embed(asked.call, texts, options)
        asked.tokens, asked.cut = sum(reply.tokens), sum(reply.cut)
        in_base64 = body.encoding_format == "base64"
        rows = await vectors.written(reply.rows, reply.form.dimensions, base64=in_base64)
        whole = _embeddings(rows, reply, embedder.served)
        headers = {"server-timing": _timing(reply.timings)}
        return Response(whole, headers=headers, media_type="application/json")

    @router.post("/v1/embeddings", openapi_extra=documented(EmbeddingsBody))
    async def embeddings(request: Request) -> Response:
        """Embed a text or a list of texts."""
        return await guard.answer("/v1/embeddings", request, openai_shape, EmbeddingsBody, embed)

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """What is served."""
        return {"object": "list", "data": [entry for _, entry in listed(gate, started)]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them, by any name that requests may use."""
        asked, _ = names.split(name)
        for served, entry in listed(gate, started):
            if served.answers_to(asked):
                return entry
        raise ModelNotFound("this model is not served here: /v1/models lists what is")

    return router


def _embeddings(rows: list[bytes], reply: Reply, served: Served) -> bytes:
    """The reply, put together from rows that are JSON already."""
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (i, row) for i, row in enumerate(rows)
    )
    tokens = sum(reply.tokens)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = {
        "model": served.model,
        "usage": usage | {"cut_tokens": sum(reply.cut), "unknown_tokens": sum(reply.unknown)},
        "fingerprint": served.fingerprint,
    }
    return b'{"object":"list","data":[%b],%b' % (data, orjson.dumps(rest)[1:])


def _timing(took: Timings) -> str:
    """A Server-Timing header, which browsers show; in milliseconds."""
    parts = {"tokenizer": took.tokenize, "queue": took.queue, "model": took.compute}
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts.items())
