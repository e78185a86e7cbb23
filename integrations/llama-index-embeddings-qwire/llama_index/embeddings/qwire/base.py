"""The LlamaIndex embedding class. Knows nothing about gRPC: `qwire` does."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.embeddings.qwire.cache import GuardedCache, guard
from llama_index.embeddings.qwire.clients import Clients, clients_for
from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

import qwire
from qwire.advice import cut_warning, refuse_two_prompts, translate, unknown_warning
from qwire.results import check_fingerprint
from qwire.target import DEFAULT_TARGET
from qwire.user_warnings import warn_user

Role = Literal["query", "document"]
Truncate = Annotated[
    Literal["end", "start", "none"],
    BeforeValidator(lambda word: word.lower() if isinstance(word, str) else word),
]
_TO_DICT_SECONDS = 2.0


class QwireEmbedding(BaseEmbedding):
    """Qwen3 embeddings, or any other model that a Qwire server runs.

    The first answer decides: from then on the object, and its copies, refuse vectors of another
    fingerprint than the one that came with it, unless `expected_fingerprint` is set to None again.
    `to_dict` names model and fingerprint, so that an `IngestionPipeline` cache never gives another
    model's vectors.

    Setup:
        Install `llama-index-embeddings-qwire` and start a server:

        ```bash
        pip install llama-index-embeddings-qwire "qwire[server]"
        qwire serve
        ```

    Key init args - embedding params:
        model_name: Refuse to talk to a server of another model. Default: whatever it serves.
        dimensions: Keep the first so many values of each vector (Matryoshka). Default: all.
        query_instruction: Task put before each query. Default: the model's own; "" for none.
        text_instruction: The same for documents, which Qwen3 embeds without any.
        query_prompt_name: Name of the model's prompt to put before each query, instead of a task.
        text_prompt_name: The same for documents.
        normalize: Scale each vector to length 1.
        truncate: Which part of a text that is too long is left out, "end" or "start"; "none"
            refuses it.
        expected_fingerprint: Refuse vectors other than those an index was made of. Default: that
            of the first answer.

    Key init args - client params:
        target: Address of the server. Default: `QWIRE_TARGET`, then `localhost:50051`.
        api_key: The key, or a function that returns it, called for each request. Default:
            `QWIRE_API_KEY`.
        timeout: Seconds without any progress of the server, after which a call fails.

    The README lists the others, and the names that other classes give them.

    Instantiate:
        ```python
        from llama_index.core import Settings
        from llama_index.embeddings.qwire import QwireEmbedding

        Settings.embed_model = QwireEmbedding(target="localhost:50051")
        ```

    Embed, each also async with an `a` before its name:
        ```python
        vector = Settings.embed_model.get_query_embedding("When do I get my money back?")
        vectors = Settings.embed_model.get_text_embedding_batch(["Refunds take five days."])
        ```
    """

    # The input is hidden because it may be the key.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    model_name: Annotated[str, BeforeValidator(lambda name: name or "")] = Field(
        default="", validation_alias=AliasChoices("model_name", "model")
    )
    target: str = Field(
        default_factory=lambda: os.environ.get("QWIRE_TARGET") or DEFAULT_TARGET,
        validation_alias=AliasChoices("target", "base_url"),
    )
    dimensions: int | None = Field(default=None, ge=1)
    query_instruction: str | None = None
    text_instruction: str | None = Field(
        default=None, validation_alias=AliasChoices("text_instruction", "document_instruction")
    )
    query_prompt_name: str | None = None
    text_prompt_name: str | None = Field(
        default=None, validation_alias=AliasChoices("text_prompt_name", "document_prompt_name")
    )
    normalize: bool = True
    truncate: Truncate = "end"
    expected_fingerprint: str | None = None
    # A slice is one progress step; inside it the client has several requests in flight.
    embed_batch_size: int = Field(default=256, gt=0, le=2048)
    embeddings_cache: Annotated[Any, BeforeValidator(guard)] = None

    # A function is no part of a JSON schema, and its representation may show a key.
    api_key: SecretStr | SkipJsonSchema[Callable[[], str]] | None = Field(
        default_factory=lambda: SecretStr(os.environ.get("QWIRE_API_KEY", "")) or None,
        repr=False,
        exclude=True,
    )
    tls: bool | None = None
    ca_cert: str | None = None
    client_cert: str | None = Field(default=None, repr=False, exclude=True)
    client_key: str | None = Field(default=None, repr=False, exclude=True)
    server_name: str | None = None
    metadata: dict[str, str] | None = Field(
        default=None,
        validation_alias=AliasChoices("metadata", "default_headers"),
        repr=False,  # headers may be secrets
        exclude=True,
    )
    timeout: float = Field(
        default=60.0, validation_alias=AliasChoices("timeout", "request_timeout")
    )
    max_attempts: int = 4
    max_concurrency: int = 4

    _made: Clients | None = PrivateAttr(default=None)
    _served: str = PrivateAttr(default="")  # the model, once the server has named it
    _told_unknown: bool = PrivateAttr(default=False)

    @classmethod
    def class_name(cls) -> str:
        """Names the class in what `to_dict` gives."""
        return "QwireEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """What events and traces say of this object; asks nobody."""
        return {  # in full: older versions of llama-index-core have no such method
            "class_name": self.class_name(),
            "model_name": self._served or self.model_name,
            **{name: getattr(self, name) for name in ("embed_batch_size", "dimensions")},
        }

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """All fields but secrets and headers, with the served model and its fingerprint.

        Both are asked of the server if nothing was embedded yet, so that an `IngestionPipeline`
        cache tells models apart. Where no server answers within 2 seconds, the fields are given as
        they were set.
        """
        with suppress(qwire.QwireError):
            self._resolve(timeout=_TO_DICT_SECONDS)
        return {**super().to_dict(**kwargs), "model_name": self._served or self.model_name}

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        async with self._clients.turns.here():
            return await self._aembed(texts, "document")

    def _embed(self, texts: list[str], role: Role) -> list[Embedding]:
        """Vectors from the cache, if there is one, the rest from the server."""
        cache: GuardedCache | None = self.embeddings_cache
        if cache is None:
            return self._ask(texts, role)
        self._resolve()
        return cache.complete(self._options(role), texts, lambda rest: self._ask(rest, role))

    async def _aembed(self, texts: list[str], role: Role) -> list[Embedding]:
        """Vectors from the cache, if there is one, the rest from the server."""
        cache: GuardedCache | None = self.embeddings_cache
        if cache is None:
            return await self._aask(texts, role)
        await self._aresolve()
        options = self._options(role)
        return await cache.acomplete(options, texts, lambda rest: self._aask(rest, role))

    def _ask(self, texts: list[str], role: Role) -> list[Embedding]:
        if not texts:
            return []
        return self._vectors(self._clients.blocking.embed(texts, **self._options(role)))

    async def _aask(self, texts: list[str], role: Role) -> list[Embedding]:
        if not texts:
            return []
        return self._vectors(await self._clients.awaited.embed(texts, **self._options(role)))

    def _resolve(self, timeout: float | None = None) -> None:
        """Learn model and fingerprint; a request without texts has the server check ours."""
        if not self._served or not self.expected_fingerprint:
            options = self._options("document")
            self._pin(self._clients.blocking.embed([], **options, timeout=timeout))

    async def _aresolve(self) -> None:
        if not self._served or not self.expected_fingerprint:
            self._pin(await self._clients.awaited.embed([], **self._options("document")))

    def _pin(self, result: qwire.Embeddings) -> None:
        """Insist on what answered first."""
        # The client checks what it was told to expect; two first calls at once were told nothing.
        check_fingerprint(result.fingerprint, self.expected_fingerprint or "")
        self.expected_fingerprint = result.fingerprint
        self._served = result.model

    def _vectors(self, result: qwire.Embeddings) -> list[Embedding]:
        """The vectors as LlamaIndex wants them, with what there is to say about them."""
        self._pin(result)
        if cut := cut_warning(result):
            warn_user(cut)
        if not self._told_unknown and (unreadable := unknown_warning(result)):
            self._told_unknown = True
            warn_user(unreadable)
        vectors: list[Embedding] = result.vectors.tolist()
        return vectors

    def _options(self, role: Role) -> dict[str, Any]:
        """What decides the vectors, once the fingerprint is known."""
        query = role == "query"
        name = self.query_prompt_name if query else self.text_prompt_name
        return {
            "input_type": role if name is None else None,
            "instruction": self.query_instruction if query else self.text_instruction,
            **({} if name is None else {"prompt_name": name}),
            "dimensions": self.dimensions,
            "normalize": self.normalize,
            "truncate": self.truncate,
            "expected_fingerprint": self.expected_fingerprint,
        }

    @property
    def _clients(self) -> Clients:
        self._made = clients_for(self, self._made)
        return self._made

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return translate(values, batch_size="embed_batch_size", document="text_instruction")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, guard(value) if name == "embeddings_cache" else value)

    @model_validator(mode="after")
    def _check(self) -> "QwireEmbedding":
        _ = self._clients  # refuses what no client can be made from; connects to nothing
        refuse_two_prompts(
            query_instruction=self.query_instruction, query_prompt_name=self.query_prompt_name
        )
        refuse_two_prompts(
            text_instruction=self.text_instruction, text_prompt_name=self.text_prompt_name
        )
        return self
