"""The LlamaIndex reranker. Knows nothing about gRPC: `qwire` does."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # it is theirs to export
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index.postprocessor.qwire.clients import Clients, clients_for
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
from qwire.advice import count_attempts, cut_warning
from qwire.target import DEFAULT_TARGET
from qwire.user_warnings import warn_user

Truncate = Annotated[
    Literal["end", "start", "none"],
    BeforeValidator(lambda word: word.lower() if isinstance(word, str) else word),
]
dispatcher = get_dispatcher(__name__)


class QwireRerank(BaseNodePostprocessor):
    """Qwen3-Reranker, or another cross-encoder that a Qwire server runs.

    Setup:
        Install `llama-index-postprocessor-qwire` and start a server with a reranker:

        ```bash
        pip install llama-index-postprocessor-qwire "qwire[server]"
        qwire serve --reranker Qwen/Qwen3-Reranker-0.6B
        ```

    Key init args:
        model: Refuse to talk to a server of another reranker. Default: whatever it serves.
        top_n: Keep the best so many nodes; None keeps all.
        instruction: What makes a node the right one. Default: the model's own.
        score_threshold: Leave out nodes of a lower score. Scores are from 0 to 1.
        keep_retrieval_score: Keep the score that a node came with, as `retrieval_score` in the
            metadata of a copy of it.
        metadata_mode: Which metadata the reranker reads with a node's text.
        truncate: Which part of a text that is too long is left out, "end" or "start"; "none"
            refuses it.
        target: Address of the server. Default: `QWIRE_TARGET`, then `localhost:50051`.
        api_key: The key, or a function that returns it, called for each request. Default:
            `QWIRE_API_KEY`.
        timeout: Seconds without any progress of the server, after which a call fails.

    The README lists the others.

    Instantiate:
        ```python
        from llama_index.postprocessor.qwire import QwireRerank

        engine = index.as_query_engine(
            similarity_top_k=30, node_postprocessors=[QwireRerank(top_n=5)]
        )
        ```
    """

    # The input is hidden because it may be the key.
    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "model_name"))
    target: str = Field(
        default_factory=lambda: os.environ.get("QWIRE_TARGET") or DEFAULT_TARGET,
        validation_alias=AliasChoices("target", "base_url"),
    )
    top_n: int | None = Field(default=5, ge=1)
    instruction: str | None = None
    score_threshold: float | None = None
    keep_retrieval_score: bool = False
    metadata_mode: MetadataMode = MetadataMode.EMBED
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

    @classmethod
    def class_name(cls) -> str:
        """Names the class in what `to_dict` gives."""
        return "QwireRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        with self._events(nodes, query) as kept:
            ranking = self._clients.blocking.rerank(query, self._texts(nodes), **self._options())
            kept.extend(self._kept(nodes, ranking))
        return kept

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        with self._events(nodes, query) as kept:
            texts = self._texts(nodes)
            ranking = await self._clients.awaited.rerank(query, texts, **self._options())
            kept.extend(self._kept(nodes, ranking))
        return kept

    @contextmanager
    def _events(self, nodes: list[NodeWithScore], query: str) -> Iterator[list[NodeWithScore]]:
        """Tell LlamaIndex of the call; the nodes that it keeps go into what is yielded."""
        name, most = self.model or "", self.top_n or len(nodes)
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=most, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: most,
        }
        kept: list[NodeWithScore] = []
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield kept
            event.on_end(payload={EventPayload.NODES: kept})
        dispatcher.event(ReRankEndEvent(nodes=kept))

    def _texts(self, nodes: list[NodeWithScore]) -> list[str]:
        return [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]

    def _kept(self, nodes: list[NodeWithScore], ranking: qwire.Ranking) -> list[NodeWithScore]:
        if cut := cut_warning(ranking):
            warn_user(cut)
        least = float("-inf") if self.score_threshold is None else self.score_threshold
        return [
            self._scored(nodes[result.index], result.score)
            for result in ranking
            if result.score >= least
        ]

    def _scored(self, found: NodeWithScore, score: float) -> NodeWithScore:
        """A new object, since the given one, and its node, may be in a store."""
        if not self.keep_retrieval_score:
            return NodeWithScore(node=found.node, score=score)
        metadata = {**found.node.metadata, "retrieval_score": found.score}
        return NodeWithScore(node=found.node.model_copy(update={"metadata": metadata}), score=score)

    def _options(self) -> dict[str, Any]:
        names = ("model", "top_n", "instruction", "truncate", "expected_fingerprint")
        return {name: getattr(self, name) for name in names}

    @property
    def _clients(self) -> Clients:
        self._made = clients_for(self, self._made)
        return self._made

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, values: Any) -> Any:
        return count_attempts(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check(self) -> "QwireRerank":
        _ = self._clients  # refuses what no client can be made from; connects to nothing
        return self


def _query(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise ValueError("a reranker needs the query: give query_bundle or query_str")
    return bundle.query_str
