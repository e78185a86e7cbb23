"""OpenAI's `/v1/embeddings` and `/v1/models`. Unpacks, calls the embedder, packs; no policy.

Jina, Voyage and vLLM have the same path, and fields of their own: all of them are taken here.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotations
from starlette.responses import Response  # noqa: TC002

from qwire_server.api.call import Options
from qwire_server.api.http import names, vectors
from qwire_server.api.http.body import Body, documented
from qwire_server.api.http.errors import openai_shape
from qwire_server.api.http.inputs import Input, texts_of
from qwire_server.api.http.listing import listed
from qwire_server.api.http.reply import PartsResponse
from qwire_server.api.http.truncation import Side, by_tokens, by_word
from qwire_server.errors import InvalidRequest, ModelNotFound
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.api.embedder import Reply
    from qwire_server.api.http.guard import Asked, Guard
    from qwire_server.api.served import Served
    from qwire_server.api.timings import Timings


class EmbeddingsBody(Body):
    """A request to `/v1/embeddings`: OpenAI's fields, ours, Jina's, Voyage's, vLLM's."""

    input: Input
    model: str | None = None
    dimensions: int | None = None
    encoding_format: vectors.Format = None
    input_type: str | None = Field(None, description=f"one of {names.SIDES}")
    instruction: str | None = Field(None, description="the task, in the model's own template")
    prompt_name: str | None = Field(None, description="one of the model's own prompts")
    truncate: bool | str | None = Field(None, description="end (default), start or none")
    normalize: bool | None = None
    expected_fingerprint: str | None = None
    task: str | None = Field(None, description="Jina's input_type, such as retrieval.query")
    normalized: bool | None = None
    embedding_type: vectors.Format = None
    output_dimension: int | None = None
    truncation: bool | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: Side | None = None
    use_activation: bool | None = None
    activation: bool | None = None

    def options(self) -> Options:
        """The fields in our own words.

        Raises:
            InvalidRequest.
        """
        model, suffix = names.split(self.model or "")
        side = self.only(
            input_type=names.side_of("input_type", self.input_type),
            task=names.side_of("task", self.task),
        )
        if self.prompt_name is not None and (side or self.instruction is not None):
            raise InvalidRequest(
                "`prompt_name` chooses the prompt alone: leave `input_type`, `task` and "
                "`instruction` out"
            )
        normalize = self.only(
            normalize=self.normalize,
            normalized=self.normalized,
            use_activation=self.use_activation,
            activation=self.activation,
        )
        return Options(
            model=model or None,
            expected_fingerprint=self.expected_fingerprint,
            input_type=side or suffix,
            instruction=self.instruction,
            prompt_name=self.prompt_name,
            dimensions=self.only(
                dimensions=self.dimensions, output_dimension=self.output_dimension
            ),
            normalize=normalize is not False,
            truncate=self.only(
                truncate=by_word(self.truncate),
                truncation=by_word(self.truncation),
                truncate_prompt_tokens=by_tokens(self.truncate_prompt_tokens, self.truncation_side),
            )
            or Truncate.END,
        )

    @property
    def in_base64(self) -> bool:
        """Whether vectors are wanted as base64.

        Raises:
            InvalidRequest.
        """
        return (
            self.only(
                encoding_format=vectors.is_base64("encoding_format", self.encoding_format),
                embedding_type=vectors.is_base64("embedding_type", self.embedding_type),
            )
            is True
        )


def routes(guard: Guard) -> APIRouter:
    """The routes, on this guard; each is there without `/v1` too, as at other servers."""
    router, gate, started = APIRouter(tags=["OpenAI"]), guard.gate, int(time.time())

    async def embed(asked: Asked, body: EmbeddingsBody) -> Response:
        embedder = gate.embedder()
        options, in_base64 = body.options(), body.in_base64
        texts = await texts_of(body.input, "input", guard.decoder(asked))
        options = replace(options, request_class=asked.count(len(texts)))
        reply = await embedder.embed(asked.call, texts, options)
        asked.tokens, asked.cut = sum(reply.tokens), sum(reply.cut)
        rows = await vectors.written(reply.rows, reply.form.dimensions, base64=in_base64)
        headers = {"server-timing": _timing(reply.timings)}
        return PartsResponse(list(_embeddings(rows, reply, embedder.served)), headers)

    @router.post("/embeddings", include_in_schema=False)
    @router.post("/v1/embeddings", openapi_extra=documented(EmbeddingsBody))
    async def embeddings(request: Request) -> Response:
        """Embed a text or a list of texts."""
        return await guard.answer("/v1/embeddings", request, openai_shape, EmbeddingsBody.of, embed)

    @router.get("/models", include_in_schema=False)
    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """What is served."""
        return {"object": "list", "data": [entry for _, entry in listed(gate, started)]}

    @router.get("/models/{name:path}", include_in_schema=False)
    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them, by any name that requests may use."""
        asked, _ = names.split(name)
        for served, entry in listed(gate, started):
            if served.answers_to(asked):
                return entry
        raise ModelNotFound("this model is not served here: /v1/models lists what is")

    return router


def _embeddings(rows: list[bytes], reply: Reply, served: Served) -> Iterator[bytes]:
    """The reply, around rows that are JSON already."""
    yield b'{"object":"list","data":['
    for i, row in enumerate(rows):
        yield b'%b{"object":"embedding","index":%d,"embedding":' % (b"," if i else b"", i)
        yield row
        yield b"}"
    tokens = sum(reply.tokens)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = {
        "model": served.model,
        "usage": usage | {"cut_tokens": sum(reply.cut), "unknown_tokens": sum(reply.unknown)},
        "fingerprint": served.fingerprint,
    }
    yield b"]," + orjson.dumps(rest)[1:]


def _timing(took: Timings) -> str:
    """A Server-Timing header, which browsers show; in milliseconds."""
    parts = {"tokenizer": took.tokenize, "queue": took.queue, "model": took.compute}
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts.items())
