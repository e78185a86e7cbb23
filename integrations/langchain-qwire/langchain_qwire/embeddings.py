"""The LangChain embeddings class. Knows nothing about gRPC: `qwire` does."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from langchain_core.embeddings import Embeddings
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

import qwire
from langchain_qwire.clients import Clients, clients_for
from qwire.advice import cut_warning, refuse_two_prompts, translate, unknown_warning
from qwire.results import check_fingerprint
from qwire.target import DEFAULT_TARGET
from qwire.user_warnings import warn_user

Role = Literal["query", "document"]
Truncate = Annotated[
    Literal["end", "start", "none"],
    BeforeValidator(lambda word: word.lower() if isinstance(word, str) else word),
]


class QwireEmbeddings(BaseModel, Embeddings):
    """Qwen3 embeddings, or any other model that a Qwire server runs.

    The first answer decides: from then on the object, and its copies, refuse vectors of another
    fingerprint than the one that came with it, unless `expected_fingerprint` is set to None again.

    Setup:
        Install `langchain-qwire` and start a server:

        ```bash
        pip install langchain-qwire "qwire[server]"
        qwire serve
        ```

    Key init args - embedding params:
        model: Refuse to talk to a server of another model. Default: whatever it serves.
        dimensions: Keep the first so many values of each vector (Matryoshka). Default: all.
        query_instruction: Task put before each query. Default: the model's own; "" for none.
        document_instruction: The same for documents, which Qwen3 embeds without any.
        query_prompt_name: Name of the model's prompt to put before each query, instead of a task.
        document_prompt_name: The same for documents.
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
        batch_size: Most texts a request. Default: what suits the server.

    The README lists the others, and the names that other classes give them.

    Instantiate:
        ```python
        from langchain_qwire import QwireEmbeddings

        embeddings = QwireEmbeddings(target="localhost:50051")
        ```

    Embed single text:
        ```python
        vector = embeddings.embed_query("When do I get my money back?")
        ```

    Embed multiple texts:
        ```python
        vectors = embeddings.embed_documents(["Refunds take five days.", "Restart the app."])
        ```

    Async:
        ```python
        vector = await embeddings.aembed_query("When do I get my money back?")
        vectors = await embeddings.aembed_documents(["Refunds take five days."])
        ```
    """

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        protected_namespaces=(),
        hide_input_in_errors=True,  # it may be the key
    )

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "model_name"))
    target: str = Field(
        default_factory=lambda: os.environ.get("QWIRE_TARGET") or DEFAULT_TARGET,
        validation_alias=AliasChoices("target", "base_url"),
    )
    dimensions: int | None = Field(default=None, ge=1)
    query_instruction: str | None = None
    document_instruction: str | None = Field(
        default=None, validation_alias=AliasChoices("document_instruction", "text_instruction")
    )
    query_prompt_name: str | None = None
    document_prompt_name: str | None = Field(
        default=None, validation_alias=AliasChoices("document_prompt_name", "text_prompt_name")
    )
    normalize: bool = True
    truncate: Truncate = "end"
    expected_fingerprint: str | None = None

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
    batch_size: int | None = Field(
        default=None, ge=1, validation_alias=AliasChoices("batch_size", "chunk_size")
    )
    show_progress: bool = Field(
        default=False, validation_alias=AliasChoices("show_progress", "show_progress_bar")
    )
    on_usage: SkipJsonSchema[Callable[[qwire.Embeddings], object]] | None = Field(
        default=None, repr=False, exclude=True
    )

    _made: Clients | None = PrivateAttr(default=None)
    _told_unknown: bool = PrivateAttr(default=False)

    def embed_documents(
        self, texts: list[str], *, batch_size: int | None = None
    ) -> list[list[float]]:
        """Embed documents, in order; `batch_size` is the most texts a request, for this call."""
        if not texts:
            return []
        result = self._clients.blocking.embed(
            texts,
            **self._options("document"),
            batch_size=batch_size,
            show_progress=self.show_progress,
        )
        return self._vectors(result)

    async def aembed_documents(
        self, texts: list[str], *, batch_size: int | None = None
    ) -> list[list[float]]:
        """Embed documents, in order; as `embed_documents`."""
        if not texts:
            return []
        result = await self._clients.awaited.embed(
            texts,
            **self._options("document"),
            batch_size=batch_size,
            show_progress=self.show_progress,
        )
        return self._vectors(result)

    def embed_query(self, text: str) -> list[float]:
        """Embed one query, behind the model's query prompt."""
        result = self._clients.blocking.embed([text], **self._options("query"))
        return self._vectors(result)[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Embed one query, behind the model's query prompt."""
        result = await self._clients.awaited.embed([text], **self._options("query"))
        return self._vectors(result)[0]

    def cache_namespace(self) -> str:
        """Names all that decides the vectors: a `namespace` for `CacheBackedEmbeddings`.

        Asks the server which model it has. From then on the object insists on that model, so that
        no other's vectors get into the cache. Give queries a store of their own.

        Raises:
            qwire.QwireError: no server answers, or one of another fingerprint.
        """
        served = self._clients.blocking.embed([], **self._options("document"))
        self._pin(served)
        decides = [self._options("document"), self._options("query")]
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        # Stores that write files take few characters.
        return f"{re.sub(r'[^A-Za-z0-9.-]', '_', served.model)}-{served.dim}-{digest[:16]}-"

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return translate(values, batch_size="batch_size", document="document_instruction")

    @model_validator(mode="after")
    def _check(self) -> "QwireEmbeddings":
        _ = self._clients  # refuses what no client can be made from; connects to nothing
        refuse_two_prompts(
            query_instruction=self.query_instruction, query_prompt_name=self.query_prompt_name
        )
        refuse_two_prompts(
            document_instruction=self.document_instruction,
            document_prompt_name=self.document_prompt_name,
        )
        return self

    @property
    def _clients(self) -> Clients:
        self._made = clients_for(self, self._made)
        return self._made

    def _options(self, role: Role) -> dict[str, Any]:
        """What decides the vectors."""
        query = role == "query"
        name = self.query_prompt_name if query else self.document_prompt_name
        return {
            "input_type": role if name is None else None,
            "instruction": self.query_instruction if query else self.document_instruction,
            **({} if name is None else {"prompt_name": name}),
            "dimensions": self.dimensions,
            "normalize": self.normalize,
            "truncate": self.truncate,
            "expected_fingerprint": self.expected_fingerprint,
        }

    def _pin(self, result: qwire.Embeddings) -> None:
        """Insist on what answered first."""
        # The client checks an expected fingerprint only; two first calls at once have none.
        check_fingerprint(result.fingerprint, self.expected_fingerprint or "")
        self.expected_fingerprint = result.fingerprint

    def _vectors(self, result: qwire.Embeddings) -> list[list[float]]:
        """The vectors as LangChain wants them, with what there is to say about them."""
        self._pin(result)
        if cut := cut_warning(result):
            warn_user(cut)
        if not self._told_unknown and (unknown := unknown_warning(result)):
            self._told_unknown = True
            warn_user(unknown)
        if self.on_usage is not None:
            self.on_usage(result)
        vectors: list[list[float]] = result.vectors.tolist()
        return vectors
