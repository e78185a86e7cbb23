"""A cache gives back the vector of this text, in this role, of this model, and no other."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

import langchain_qwire
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.qwire import QwireEmbedding

import qwire

if TYPE_CHECKING:
    from support.fake_server import FakeServer

TEXT = "Paris"


async def _all_documents(embedding: QwireEmbedding) -> list[list[float]]:
    return [
        embedding.get_text_embedding(TEXT),
        embedding.get_text_embedding_batch([TEXT])[0],
        await embedding.aget_text_embedding(TEXT),
        (await embedding.aget_text_embedding_batch([TEXT]))[0],
    ]


async def _all_queries(embedding: QwireEmbedding) -> list[list[float]]:
    return [embedding.get_query_embedding(TEXT), await embedding.aget_query_embedding(TEXT)]


@pytest.mark.parametrize("first", [_all_documents, _all_queries])
async def test_query_and_document_do_not_mix(qwen_server, qwen: qwire.Client, first):
    """Whichever comes first, sync, async and batch; LlamaIndex alone would mix them."""
    embedding = QwireEmbedding(target=qwen_server, embeddings_cache=SimpleKVStore())
    await first(embedding)
    document, query = qwen.embed_documents([TEXT])[0].tolist(), qwen.embed_query(TEXT).tolist()
    assert document != query
    assert await _all_documents(embedding) == [document] * 4
    assert await _all_queries(embedding) == [query] * 2


async def test_what_is_cached_is_not_asked_again(fake: FakeServer):
    embedding = QwireEmbedding(target=fake.target, embeddings_cache=SimpleKVStore())
    vectors = await _all_documents(embedding) + await _all_queries(embedding)
    assert fake.count("Embed") == 3  # which model is it, one document, one query
    assert vectors == await _all_documents(embedding) + await _all_queries(embedding)
    assert fake.count("Embed") == 3


async def test_only_what_is_missing_is_asked_and_order_holds(fake: FakeServer):
    embedding = QwireEmbedding(target=fake.target, embeddings_cache=SimpleKVStore())
    plain = QwireEmbedding(target=fake.target)
    embedding.get_text_embedding_batch(["b", "d"])
    texts = ["a", "b", "c", "b", "a", "d"]
    vectors = embedding.get_text_embedding_batch(texts)
    assert fake.seen[-1].request.texts == ["a", "c"]
    assert vectors == plain.get_text_embedding_batch(texts)
    assert vectors == await embedding.aget_text_embedding_batch(texts)


def test_a_store_filled_by_another_class_is_not_believed(fake: FakeServer):
    """LlamaIndex's own entries carry no model and no role."""
    store = SimpleKVStore()
    store.put(TEXT, {"some-id": [1.0, 2.0]}, collection="embeddings")
    embedding = QwireEmbedding(target=fake.target, embeddings_cache=store)
    assert len(embedding.get_text_embedding(TEXT)) == 16
    assert len(embedding.get_query_embedding(TEXT)) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": 8},
        {"normalize": False},
        {"truncate": "start"},
        {"text_instruction": "a"},
    ],
)
def test_other_settings_do_not_share_vectors(fake: FakeServer, change):
    store = SimpleKVStore()
    QwireEmbedding(target=fake.target, embeddings_cache=store).get_text_embedding(TEXT)
    QwireEmbedding(target=fake.target, embeddings_cache=store, **change).get_text_embedding(TEXT)
    assert [seen.request.texts for seen in fake.seen] == [[], [TEXT]] * 2


def test_another_model_does_not_share_vectors(fake: FakeServer):
    store = SimpleKVStore()
    QwireEmbedding(target=fake.target, embeddings_cache=store).get_text_embedding(TEXT)
    fake.fingerprint = "fake-2"
    QwireEmbedding(target=fake.target, embeddings_cache=store).get_text_embedding(TEXT)
    assert [seen.request.texts for seen in fake.seen] == [[], [TEXT]] * 2


def test_a_cache_given_later_is_guarded_too(fake: FakeServer):
    store = SimpleKVStore()
    store.put(TEXT, {"some-id": [1.0]}, collection="embeddings")
    embedding = QwireEmbedding(target=fake.target)
    embedding.embeddings_cache = store
    assert len(embedding.get_query_embedding(TEXT)) == 16


def test_a_cache_travels_with_copies(fake: FakeServer):
    embedding = QwireEmbedding(target=fake.target, embeddings_cache=SimpleKVStore())
    vector = embedding.get_text_embedding(TEXT)
    asked = fake.count("Embed")
    again = QwireEmbedding.from_dict(embedding.to_dict())
    for other in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding)), again):
        assert other.get_text_embedding(TEXT) == vector
    # Those that were rebuilt ask once which model it is.
    assert [list(seen.request.texts) for seen in fake.seen[asked:]] == [[], []]


async def test_the_store_can_be_looked_at_through_its_guard(fake: FakeServer):
    store = SimpleKVStore()
    embedding = QwireEmbedding(target=fake.target, embeddings_cache=store)
    embedding.get_text_embedding(TEXT)
    (key,) = embedding.embeddings_cache.get_all("embeddings")
    assert await embedding.embeddings_cache.aget_all("embeddings") == store.get_all("embeddings")
    assert embedding.embeddings_cache.store is store
    assert await embedding.embeddings_cache.adelete(key, "embeddings")
    assert not embedding.embeddings_cache.delete(key, "embeddings")


def test_what_is_no_store_is_refused():
    with pytest.raises(TypeError, match="BaseKVStore"):
        QwireEmbedding(embeddings_cache={})


# -- LangChain: the name of a cache


def test_the_namespace_names_all_that_decides_the_vectors(fake: FakeServer):
    changes = [
        {},
        {"dimensions": 8},
        {"normalize": False},
        {"truncate": "start"},
        {"query_instruction": "a"},
        {"document_instruction": "a"},
    ]
    names = [QwireEmbeddings(target=fake.target, **change).cache_namespace() for change in changes]
    names.append(QwireEmbeddings(target=fake.target, timeout=9).cache_namespace())
    fake.fingerprint = "fake-2"
    names.append(QwireEmbeddings(target=fake.target).cache_namespace())
    assert len(set(names)) == len(changes) + 1
    assert names[0] == names[-2]
    # What a LocalFileStore takes as part of a file's name.
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for name in names)


def test_whoever_named_a_cache_insists_on_its_model(fake: FakeServer):
    embeddings = QwireEmbeddings(target=fake.target)
    name = embeddings.cache_namespace()
    assert embeddings.cache_namespace() == name
    fake.fingerprint = "fake-2"
    with pytest.raises(qwire.FingerprintMismatchError):
        embeddings.embed_documents([TEXT])


async def test_queries_get_their_own_vectors_from_a_cache_with_two_stores(
    qwen_server, qwen: qwire.Client, tmp_path, monkeypatch
):
    """The README's lines; whichever of a query and a document of the same words comes first."""
    pytest.importorskip("langchain_classic", reason="the home of CacheBackedEmbeddings")
    page = Path(langchain_qwire.__file__).parents[1] / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "CacheBackedEmbeddings" in block)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block.replace("localhost:50051", qwen_server), "page", "exec"), names)
    cached = names["cached"]
    document, query = qwen.embed_documents([TEXT])[0].tolist(), qwen.embed_query(TEXT).tolist()
    for _ in range(2):
        assert cached.embed_documents([TEXT]) == [document]
        assert cached.embed_query(TEXT) == query
        assert await cached.aembed_query("query first") == qwen.embed_query("query first").tolist()
        (found,) = await cached.aembed_documents(["query first"])
        assert found == qwen.embed_documents(["query first"])[0].tolist()


def test_no_page_gives_queries_the_store_of_documents():
    root = Path(__file__).parents[2]
    pages = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("examples/*.md")]
    pages += root.glob("integrations/*/README.md")
    code = [path.read_text("utf-8") for path in root.glob("examples/*.py")]
    for page in pages:
        code += re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    cached = [block for block in code if "CacheBackedEmbeddings" in block]
    assert cached
    for block in cached:
        assert re.search(r"query_embedding_cache=\w+\(", block), block


def test_the_name_of_a_cache_is_asked_for_by_a_call():
    """Looking at an object, as debuggers and `inspect` do, asks nothing of a server."""
    embeddings = QwireEmbeddings(target="localhost:1", max_attempts=1)
    names = [name for name in dir(embeddings) if not name.startswith(("_", "model_"))]
    assert all(hasattr(embeddings, name) for name in names)
    with pytest.raises(qwire.ConnectionFailedError):
        embeddings.cache_namespace()
