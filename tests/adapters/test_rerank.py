"""Both rerankers: what they send, what they give back, what they leave alone."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from langchain_core.documents import Document
from langchain_qwire import QwireCrossEncoder, QwireReranker
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode
from llama_index.postprocessor.qwire import QwireRerank
from pydantic import ValidationError

import qwire
from qwire.advice import TextsCutWarning
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import Refusal, score_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer

QUERY = "which one?"
TEXTS = ["one", "two", "three", "four", "one", "five"]
ORDER = sorted(range(6), key=lambda i: -score_of(QUERY, TEXTS[i]))
SECRET = "s3cret-value"


def documents() -> list[Document]:
    return [
        Document(page_content=text, metadata={"place": i}, id=f"id-{i}")
        for i, text in enumerate(TEXTS)
    ]


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=f"id-{i}"), score=i / 10)
        for i, text in enumerate(TEXTS)
    ]


class LangChain:
    """LangChain's words."""

    kind = QwireReranker

    def __init__(self, target: str, **fields: Any) -> None:
        self.reranker = QwireReranker(target=target, **fields)

    def rank(self) -> list[tuple[str, float]]:
        return self._told(self.reranker.compress_documents(documents(), QUERY))

    def arank(self) -> list[tuple[str, float]]:
        return self._told(asyncio.run(self.reranker.acompress_documents(documents(), QUERY)))

    def rank_nothing(self) -> list[Any]:
        return [*self.reranker.compress_documents([], QUERY), *self.reranker.rerank([], QUERY)]

    def _told(self, found: list[Document]) -> list[tuple[str, float]]:
        return [(str(d.id), d.metadata["relevance_score"]) for d in found]


class LlamaIndex:
    """LlamaIndex's words."""

    kind = QwireRerank

    def __init__(self, target: str, **fields: Any) -> None:
        self.reranker = QwireRerank(target=target, **fields)

    def rank(self) -> list[tuple[str, float]]:
        return self._told(self.reranker.postprocess_nodes(nodes(), query_str=QUERY))

    def arank(self) -> list[tuple[str, float]]:
        return self._told(asyncio.run(self.reranker.apostprocess_nodes(nodes(), query_str=QUERY)))

    def rank_nothing(self) -> list[Any]:
        return self.reranker.postprocess_nodes([], query_str=QUERY)

    def _told(self, found: list[NodeWithScore]) -> list[tuple[str, float]]:
        return [(node.node_id, node.score or 0.0) for node in found]


@pytest.fixture(params=[LangChain, LlamaIndex], ids=["langchain", "llama_index"])
def kind(request: pytest.FixtureRequest) -> type[LangChain | LlamaIndex]:
    return request.param


def expected(top_n: int = 6) -> list[tuple[str, float]]:
    return [(f"id-{i}", score_of(QUERY, TEXTS[i])) for i in ORDER[:top_n]]


@pytest.mark.parametrize("way", ["rank", "arank"])
def test_the_best_come_first_with_their_ids(fake: FakeServer, kind, way):
    """Equal documents stay in their order; scores are Python's floats."""
    found = getattr(kind(fake.target, top_n=None), way)()
    assert found == expected()
    assert {type(score) for _, score in found} == {float}


@pytest.mark.parametrize(("kind", "top_n"), [(LangChain, 3), (LlamaIndex, 5)])
def test_so_many_are_kept_by_default(fake: FakeServer, kind, top_n):
    assert kind(fake.target).rank() == expected(top_n)


def test_the_threshold_is_of_the_score(fake: FakeServer, kind):
    middle = score_of(QUERY, TEXTS[ORDER[2]])
    found = kind(fake.target, top_n=None, score_threshold=middle).rank()
    assert found == [(i, score) for i, score in expected() if score >= middle]


def test_nothing_is_ranked_without_a_server(kind):
    assert kind("localhost:1").rank_nothing() == []


def test_what_is_set_reaches_the_server(fake: FakeServer, kind):
    fields = {"model_name": "m", "instruction": "Find it", "truncate": "START", "max_retries": 0}
    reranker = kind(fake.target, **fields, default_headers={"x-tenant": "a"})
    reranker.rank()
    assert reranker.reranker.max_attempts == 1
    seen = fake.seen[0]
    options = seen.request.options
    assert (options.model, options.instruction) == ("m", "Find it")
    assert options.truncate == pb.TRUNCATE_START
    assert seen.metadata["x-tenant"] == "a"


def test_cut_documents_are_told(fake: FakeServer, kind, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "TEXTS", [*TEXTS[:5], "xxx"])
    with pytest.warns(TextsCutWarning, match="1 of 6 texts"):
        kind(fake.target).rank()


def test_errors_are_the_clients(fake: FakeServer, kind):
    fake.refusals["Rerank"].append(
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SERVED", "no reranker")
    )
    with pytest.raises(qwire.NotServedError):
        kind(fake.target).rank()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_work(fake: FakeServer, kind, clone: Callable[[Any], Any]):
    original = kind(fake.target, api_key=SECRET)
    original.rank()
    twin = kind(fake.target)
    twin.reranker = clone(original.reranker)
    assert twin.rank() == original.rank()


def test_secrets_are_not_shown(kind):
    reranker = kind("localhost:1", api_key=SECRET, metadata={"x": SECRET}).reranker
    assert SECRET not in repr(reranker)
    assert SECRET not in str(reranker.model_dump())


def test_an_unknown_setting_is_refused(kind):
    with pytest.raises(ValidationError, match="cohere_api_key"):
        kind("localhost:1", cohere_api_key="x")


# -- LangChain


def test_documents_are_copied_not_changed(fake: FakeServer):
    given = documents()
    found = QwireReranker(target=fake.target).compress_documents(given, QUERY)
    assert given == documents()
    assert [d.metadata["place"] for d in found] == ORDER[:3]
    json.dumps([d.metadata for d in found])


def test_texts_are_ranked_by_index(fake: FakeServer):
    found = QwireReranker(target=fake.target).rerank(TEXTS, QUERY)
    assert [result["index"] for result in found] == ORDER[:3]


def test_pairs_of_several_queries_are_scored_in_their_order(fake: FakeServer):
    pairs = [("a", "one"), ("b", "two"), ("a", "three"), ("b", "one"), ("a", "one")]
    scores = QwireCrossEncoder(target=fake.target).score(pairs)
    assert scores == [score_of(*pair) for pair in pairs]
    assert fake.count("Rerank") == 2
    assert QwireCrossEncoder(target="localhost:1").score([]) == []


# -- LlamaIndex


def test_it_is_a_node_postprocessor():
    assert BaseNodePostprocessor in QwireRerank.__mro__
    assert QwireRerank.class_name() == "QwireRerank"


def test_nodes_in_a_store_are_not_changed(fake: FakeServer):
    given = nodes()
    reranker = QwireRerank(target=fake.target, keep_retrieval_score=True)
    found = reranker.postprocess_nodes(given, query_str=QUERY)
    assert [node.score for node in given] == [i / 10 for i in range(6)]
    assert all(not node.node.metadata for node in given)
    assert [n.node.metadata["retrieval_score"] for n in found] == [i / 10 for i in ORDER[:5]]


def test_metadata_is_read_as_asked(fake: FakeServer):
    node = NodeWithScore(node=TextNode(text="body", metadata={"title": "T"}))
    for mode, text in ((MetadataMode.EMBED, "title: T\n\nbody"), (MetadataMode.NONE, "body")):
        QwireRerank(target=fake.target, metadata_mode=mode).postprocess_nodes(
            [node], query_str=QUERY
        )
        assert list(fake.seen[-1].request.documents) == [text]


def test_a_query_is_needed():
    with pytest.raises(ValueError, match="needs the query"):
        QwireRerank(target="localhost:1").postprocess_nodes(nodes())


def test_callbacks_are_told(fake: FakeServer):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = QwireRerank(target=fake.target, callback_manager=CallbackManager([debug]))
    reranker.postprocess_nodes(nodes(), query_str=QUERY)
    ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert start.payload
    assert end.payload
    assert start.payload["query_str"] == QUERY
    assert [n.node_id for n in end.payload["nodes"]] == [f"id-{i}" for i in ORDER[:5]]


# -- a real server


@pytest.mark.parametrize("way", ["rank", "arank"])
def test_a_real_server_gives_what_the_client_gets(qwen: qwire.Client, qwen_server: str, kind, way):
    ranking = qwen.rerank(QUERY, TEXTS)
    found = getattr(kind(qwen_server, top_n=None), way)()
    expected_scores = {f"id-{result.index}": result.score for result in ranking}
    assert dict(found) == pytest.approx(expected_scores, abs=1e-5)
    assert 1 > found[0][1] >= found[-1][1] > 0


def test_a_real_server_describes_its_reranker(qwen: qwire.Client):
    reranker = qwen.describe().reranker
    assert reranker is not None
    assert (reranker.model, reranker.max_tokens) == ("tiny-reranker", 512)
