"""What LlamaIndex asks of an embedding class."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.qwire import QwireEmbedding

import qwire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fake_server import FakeServer

ARTICLES = [
    "Refunds arrive within five working days.",
    "Restart the app to clear its cache.",
    "The contract ends after twelve months.",
]


class Events(BaseEventHandler):
    """Remembers events."""

    seen: list = []  # noqa: RUF012  a pydantic field

    def handle(self, event, **kwargs) -> None:
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[Events]:
    """What LlamaIndex tells its observers."""
    root = get_dispatcher()
    handler = Events()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def _settings() -> Iterator[None]:
    """Settings are global: leave them as they were."""
    before = Settings._embed_model
    yield
    Settings._embed_model = before


def test_it_is_an_embedding():
    names = [base.__name__ for base in QwireEmbedding.__mro__]
    assert BaseEmbedding.__name__ in names
    assert QwireEmbedding.class_name() == "QwireEmbedding"


def test_every_hook_is_native():
    """None is left to a default that loops, or that blocks the event loop."""
    hooks = ["query_embedding", "text_embedding", "text_embeddings"]
    for hook in [f"_get_{hook}" for hook in hooks] + [f"_aget_{hook}" for hook in hooks]:
        assert hook in vars(QwireEmbedding), hook


async def test_all_hooks_agree(qwen_server: str, qwen: qwire.Client):
    embedding = QwireEmbedding(target=qwen_server)
    document = qwen.embed_documents(["a"])[0].tolist()
    assert embedding.get_text_embedding("a") == document
    assert await embedding.aget_text_embedding("a") == document
    assert await embedding.aget_text_embedding_batch(["a"], show_progress=True) == [document]
    assert embedding.get_agg_embedding_from_queries(["a"]) == qwen.embed_query("a").tolist()


# -- to_dict: what the caches of pipelines are keyed by


def test_to_dict_names_model_and_fingerprint(demo_server: str, demo: qwire.Client):
    """Asked of the server if nothing was embedded yet; the same before use and after it."""
    served = demo.describe()
    embedding = QwireEmbedding(target=demo_server, model="all-MiniLM-L6-v2")
    told = embedding.to_dict()
    assert told["model_name"] == served.model
    assert told["expected_fingerprint"] == served.fingerprint
    assert told["class_name"] == "QwireEmbedding"
    embedding.get_text_embedding("a")
    assert embedding.to_dict() == told == QwireEmbedding(target=demo_server).to_dict()


def test_from_dict_gives_the_same_object(demo_server: str):
    embedding = QwireEmbedding(
        target=demo_server, truncate="start", timeout=9, embed_batch_size=3, normalize=False
    )
    again = QwireEmbedding.from_dict(embedding.to_dict())
    assert again.to_dict() == embedding.to_dict()
    assert again.get_text_embedding("a") == embedding.get_text_embedding("a")
    again = QwireEmbedding.from_json(embedding.to_json())
    assert again.to_dict() == embedding.to_dict()


def test_all_that_decides_the_vectors_is_in_to_dict(fake: FakeServer):
    changes = [
        {},
        {"dimensions": 8},
        {"normalize": False},
        {"truncate": "start"},
        {"query_instruction": "a"},
        {"text_instruction": "a"},
    ]
    told = [str(QwireEmbedding(target=fake.target, **change).to_dict()) for change in changes]
    assert len(set(told)) == len(changes)


def test_to_dict_needs_no_server():
    """It gives what was set, and an object that is made from it insists on the same."""
    embedding = QwireEmbedding(target="localhost:1", max_attempts=1, model_name="m", dimensions=8)
    told = embedding.to_dict()
    assert (told["model_name"], told["expected_fingerprint"]) == ("m", None)
    assert json.loads(embedding.to_json()) == told
    embedding.expected_fingerprint = "fake-1"
    again = QwireEmbedding.from_dict(embedding.to_dict())
    assert (again.expected_fingerprint, again.dimensions) == ("fake-1", 8)
    assert embedding.to_payload()["model_name"] == "m"


def test_the_payload_of_events_names_the_model_once_it_is_known(fake: FakeServer):
    embedding = QwireEmbedding(target=fake.target, dimensions=8)
    assert fake.seen == []
    embedding.get_text_embedding("a")
    payload = embedding.to_payload()
    assert (payload["model_name"], payload["dimensions"]) == ("fake/model", 8)
    assert payload["class_name"] == "QwireEmbedding"


# -- a server whose model changes


@pytest.mark.parametrize(
    "later",
    [
        lambda it: it,
        lambda it: QwireEmbedding.from_dict(it.to_dict()),
        lambda it: pickle.loads(pickle.dumps(it)),
        copy.deepcopy,
    ],
    ids=["itself", "from_dict", "pickle", "deepcopy"],
)
def test_whoever_embedded_once_insists_on_the_model(fake: FakeServer, later):
    used = QwireEmbedding(target=fake.target)
    used.get_text_embedding("a")
    used = later(used)
    assert used.expected_fingerprint == "fake-1"
    fake.fingerprint = "fake-2"
    for call in (used.get_text_embedding, used.get_query_embedding):
        with pytest.raises(qwire.FingerprintMismatchError, match="fake-1"):
            call("a")
    with pytest.raises(qwire.FingerprintMismatchError):
        asyncio.run(used.aget_text_embedding_batch(["a", "b"]))


def test_insisting_can_be_ended_by_hand(fake: FakeServer):
    """As when an index is to be made anew."""
    embedding = QwireEmbedding(target=fake.target)
    before = embedding.to_dict()
    fake.fingerprint = "fake-2"
    embedding.expected_fingerprint = None
    assert embedding.to_dict() == {**before, "expected_fingerprint": "fake-2"}


def test_a_changed_model_cannot_poison_the_cache_of_a_pipeline(fake: FakeServer):
    """Whoever starts anew gets the new model's vectors; whoever goes on is refused."""
    cache = IngestionCache()

    def vectors(embedding):
        pipeline = IngestionPipeline(transformations=[embedding], cache=cache)
        return [node.embedding for node in pipeline.run(documents=[Document(text="hello")])]

    first = QwireEmbedding(target=fake.target)
    cached = vectors(first)
    asked = fake.count("Embed")
    assert vectors(first) == cached
    assert fake.count("Embed") == asked
    fake.fingerprint = "fake-2"
    vectors(QwireEmbedding(target=fake.target))
    assert fake.count("Embed") == asked + 2  # which model is it, and the vector
    with pytest.raises(qwire.FingerprintMismatchError):
        IngestionPipeline(transformations=[first], cache=cache).run(
            documents=[Document(text="not in the cache")]
        )


# -- pipelines, indexes, events


async def test_a_pipeline_embeds_nodes(demo_server: str, demo: qwire.Client):
    documents = [Document(text=text) for text in ARTICLES]
    embedding = QwireEmbedding(target=demo_server)
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embedding])
    expected = demo.embed_documents(ARTICLES).tolist()
    for nodes in (pipeline.run(documents=documents), await pipeline.arun(documents=documents)):
        assert [node.embedding for node in nodes] == expected


@pytest.mark.usefixtures("_settings")
def test_an_index_finds_what_was_asked_for(demo_server: str):
    """As the one line of a program that names the embedding class."""
    Settings.embed_model = QwireEmbedding(target=demo_server)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in ARTICLES])
    found = index.as_retriever(similarity_top_k=1).retrieve("When do I get my money back?")
    assert found[0].text == ARTICLES[0]
    assert isinstance(Settings.embed_model, QwireEmbedding)
    Settings.embed_model = MockEmbedding(embed_dim=8)


def test_batches_tell_observers(fake: FakeServer, events: Events):
    """A start and an end for each slice, with the vectors; callbacks likewise."""
    debug = LlamaDebugHandler(print_trace_on_end=False)
    embedding = QwireEmbedding(
        target=fake.target, embed_batch_size=2, callback_manager=CallbackManager([debug])
    )
    vectors = embedding.get_text_embedding_batch(ARTICLES)
    kinds = (EmbeddingStartEvent, EmbeddingEndEvent)
    seen = [event for event in events.seen if isinstance(event, kinds)]
    assert [type(event) for event in seen] == [*kinds, *kinds]
    assert [vector for end in seen[1::2] for vector in end.embeddings] == vectors
    assert seen[0].model_dict["class_name"] == "QwireEmbedding"
    assert len(debug.get_event_pairs(CBEventType.EMBEDDING)) == 2


def test_vectors_are_lists_of_floats(fake: FakeServer):
    vector = QwireEmbedding(target=fake.target).get_text_embedding("a")
    assert all(type(value) is float for value in vector)
    assert np.isclose(np.linalg.norm(vector), 1)
