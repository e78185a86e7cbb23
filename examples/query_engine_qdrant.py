"""A LlamaIndex query engine on a Qdrant store that stays on disk, with a reranker behind it.

    qwire serve --reranker Qwen/Qwen3-Reranker-0.6B
    python examples/query_engine_qdrant.py              # localhost:50051, ./qdrant-nodes
    python examples/query_engine_qdrant.py localhost:50051 /var/lib/nodes "My refund is late"

Without `--reranker` the first stage alone answers.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from corpus import load_articles
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import TextNode
from llama_index.embeddings.qwire import QwireEmbedding
from llama_index.postprocessor.qwire import QwireRerank
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from qwire import Client, Description

if TYPE_CHECKING:
    from llama_index.core.query_engine import BaseQueryEngine

TARGET = os.environ.get("QWIRE_TARGET", "localhost:50051")
QUESTION = "I complained to Visa about your fee and now my team can't edit anything"
CANDIDATES = 20  # what the first stage hands to the second
KEPT = 3


def main(target: str = TARGET, folder: str = "qdrant-nodes", question: str = QUESTION) -> None:
    """Index on the first run, find the index again on the next, answer one question."""
    with Client(target) as client:
        served = client.describe()
    with closing(QdrantClient(path=folder)) as database:
        engine = build_engine(open_index(database, target, served), target, served)
        stage = served.reranker.model if served.reranker else "off: the server has no --reranker"
        print(f"second stage: {stage}")
        found = engine.query(question).source_nodes
        for place, node in enumerate(found, 1):
            print(f"{place}. {node.metadata['title']}")
        print(found[0].text)


def open_index(database: QdrantClient, target: str, served: Description) -> VectorStoreIndex:
    """The articles as a collection that is named after the model's fingerprint.

    A server with another model gets a collection of its own, whatever its dimension.
    """
    embed_model = QwireEmbedding(target=target, expected_fingerprint=served.fingerprint)
    name = f"articles-{served.fingerprint}"
    if not database.collection_exists(name):
        size = models.VectorParams(size=served.dimensions.native, distance=models.Distance.COSINE)
        database.create_collection(name, size)
    is_new = database.count(name).count == 0
    vectors = QdrantVectorStore(client=database, collection_name=name)
    if is_new:
        nodes = [
            # LlamaIndex would put the title before the text that it embeds, a second time.
            TextNode(
                text=article.passage,
                metadata={"title": article.title},
                excluded_embed_metadata_keys=["title"],
            )
            for article in load_articles("en")
        ]
        storage = StorageContext.from_defaults(vector_store=vectors)
        index = VectorStoreIndex(nodes, storage_context=storage, embed_model=embed_model)
    else:
        index = VectorStoreIndex.from_vector_store(vectors, embed_model=embed_model)
    print(f"{name}: {database.count(name).count} articles, {'new' if is_new else 'found on disk'}")
    return index


def build_engine(index: VectorStoreIndex, target: str, served: Description) -> BaseQueryEngine:
    """Retrieve and rerank; what stands for an LLM here only repeats its prompt."""
    second = [QwireRerank(target=target, top_n=KEPT)] if served.reranker else []
    return index.as_query_engine(
        llm=MockLLM(),
        similarity_top_k=CANDIDATES if second else KEPT,
        node_postprocessors=second,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
