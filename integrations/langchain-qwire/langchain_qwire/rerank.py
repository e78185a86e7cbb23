"""The LangChain rerankers. Know nothing about gRPC: `qwire` does."""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
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
from qwire.advice import count_attempts, cut_warning
from qwire.target import DEFAULT_TARGET
from qwire.user_warnings import warn_user

Truncate = Annotated[
    Literal["end", "start", "none"],
    BeforeValidator(lambda word: word.lower() if isinstance(word, str) else word),
]


class _Settings(BaseModel):
    """Settings of both rerankers, and their clients."""

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
    top_n: int | None = Field(default=None, ge=1)
    instruction: str | None = None
    score_threshold: float | None = None
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
    batch_size: int | None = Field(default=None, ge=1)

    _made: Clients | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, values: Any) -> Any:
        return count_attempts(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check(self) -> "_Settings":
        _ = self._clients  # refuses what no client can be made from; connects to nothing
        return self

    @property
    def _clients(self) -> Clients:
        self._made = clients_for(self, self._made)
        return self._made

    def _options(self) -> dict[str, Any]:
        names = ("model", "instruction", "truncate", "expected_fingerprint")
        return {name: getattr(self, name) for name in names}


class QwireReranker(_Settings, BaseDocumentCompressor):
    """Qwen3-Reranker, or another cross-encoder that a Qwire server runs.

    Setup:
        Install `langchain-qwire` and start a server with a reranker:

        ```bash
        pip install langchain-qwire "qwire[server]"
        qwire serve --reranker Qwen/Qwen3-Reranker-0.6B
        ```

    Key init args:
        model: Refuse to talk to a server of another reranker. Default: whatever it serves.
        top_n: Keep the best so many documents; None keeps all.
        instruction: What makes a document the right one. Default: the model's own.
        score_threshold: Leave out documents of a lower score. Scores are from 0 to 1.
        truncate: Which part of a document that is too long is left out, "end" or "start"; "none"
            refuses it.
        target: Address of the server. Default: `QWIRE_TARGET`, then `localhost:50051`.
        api_key: The key, or a function that returns it, called for each request. Default:
            `QWIRE_API_KEY`.
        timeout: Seconds without any progress of the server, after which a call fails.

    The README lists the others.

    Instantiate:
        ```python
        from langchain_classic.retrievers import ContextualCompressionRetriever
        from langchain_qwire import QwireReranker

        retriever = ContextualCompressionRetriever(
            base_compressor=QwireReranker(top_n=3), base_retriever=store.as_retriever()
        )
        ```

    Rerank, each also async with an `a` before its name:
        ```python
        best = reranker.compress_documents(documents, "When do I get my money back?")
        best[0].metadata["relevance_score"]
        ```
    """

    top_n: int | None = Field(default=3, ge=1)

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  there is no call below this one
    ) -> list[Document]:
        """The best documents, best first, as copies with a `relevance_score` in their metadata."""
        return self._copies(documents, self.rerank(documents, query))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  as above
    ) -> list[Document]:
        """The best documents, best first; as `compress_documents`."""
        return self._copies(documents, await self.arerank(documents, query))

    def rerank(self, documents: Sequence[str | Document], query: str) -> list[dict[str, Any]]:
        """The best documents by `index` and `relevance_score`, best first."""
        if not documents:
            return []
        texts = [_text(document) for document in documents]
        options = {**self._options(), "top_n": self.top_n}
        return self._found(self._clients.blocking.rerank(query, texts, **options))

    async def arerank(
        self, documents: Sequence[str | Document], query: str
    ) -> list[dict[str, Any]]:
        """The best documents by `index` and `relevance_score`, best first; as `rerank`."""
        if not documents:
            return []
        texts = [_text(document) for document in documents]
        options = {**self._options(), "top_n": self.top_n}
        return self._found(await self._clients.awaited.rerank(query, texts, **options))

    def _found(self, ranking: qwire.Ranking) -> list[dict[str, Any]]:
        if cut := cut_warning(ranking):
            warn_user(cut)
        least = float("-inf") if self.score_threshold is None else self.score_threshold
        return [
            {"index": result.index, "relevance_score": result.score}
            for result in ranking
            if result.score >= least
        ]

    def _copies(self, documents: Sequence[Document], found: list[dict[str, Any]]) -> list[Document]:
        copies = []
        for result in found:
            document = documents[result["index"]]
            metadata = {**document.metadata, "relevance_score": result["relevance_score"]}
            copies.append(document.model_copy(update={"metadata": metadata}))
        return copies


class QwireCrossEncoder(_Settings, BaseCrossEncoder):
    """The same for what takes a `BaseCrossEncoder`, such as `CrossEncoderReranker`.

    Takes the settings of `QwireReranker`, so that one set of them serves both. `top_n` and
    `score_threshold` change nothing here, because `score` owes a score for each pair: set them on
    what uses this object, as in `CrossEncoderReranker(model=QwireCrossEncoder(), top_n=3)`.
    """

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Scores from 0 to 1 of pairs of a query and a document, in their order."""
        places: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(text_pairs):
            places.setdefault(query, []).append(place)
        scores = [0.0] * len(text_pairs)
        for query, mine in places.items():
            texts = [text_pairs[place][1] for place in mine]
            ranking = self._clients.blocking.rerank(query, texts, **self._options())
            if cut := cut_warning(ranking):
                warn_user(cut)
            for place, score in zip(mine, ranking.scores.tolist(), strict=True):
                scores[place] = score
        return scores


def _text(document: str | Document) -> str:
    return document.page_content if isinstance(document, Document) else document
