"""A LangChain RAG chain on a Qdrant store that stays on disk, with a reranker as second stage.

    qwire serve --reranker Qwen/Qwen3-Reranker-0.6B
    python examples/rag_qdrant.py                       # localhost:50051, ./qdrant-articles
    python examples/rag_qdrant.py localhost:50051 /var/lib/articles "My refund is late"

Without `--reranker` the first stage alone answers. An LLM goes where `best_passage` stands.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

from corpus import load_articles
from langchain_core.documents import Document
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_qdrant import QdrantVectorStore
from langchain_qwire import QwireEmbeddings, QwireReranker
from qdrant_client import QdrantClient, models
from rag_chain import best_passage

from qwire import Client, Description

TARGET = os.environ.get("QWIRE_TARGET", "localhost:50051")
QUESTION = "I complained to Visa about your fee and now my team can't edit anything"
CANDIDATES = 20  # what the first stage hands to the second
KEPT = 3


def main(target: str = TARGET, folder: str = "qdrant-articles", question: str = QUESTION) -> None:
    """Index on the first run, find the index again on the next, answer one question."""
    with Client(target) as client:
        served = client.describe()
    with closing(QdrantClient(path=folder)) as database:
        store = open_store(database, target, served)
        retrieve = two_stages(store, target) if served.reranker else one_stage(store)
        stage = served.reranker.model if served.reranker else "off: the server has no --reranker"
        print(f"second stage: {stage}")
        found = retrieve.invoke(question)
        for place, document in enumerate(found, 1):
            print(f"{place}. {document.metadata['title']}")
        print(best_passage(found))


def open_store(database: QdrantClient, target: str, served: Description) -> QdrantVectorStore:
    """The articles as a collection that is named after the model's fingerprint.

    A server with another model gets a collection of its own, whatever its dimension.
    """
    embeddings = QwireEmbeddings(target=target, expected_fingerprint=served.fingerprint)
    name = f"articles-{served.fingerprint}"
    if not database.collection_exists(name):
        size = models.VectorParams(size=served.dimensions.native, distance=models.Distance.COSINE)
        database.create_collection(name, size)
    is_new = database.count(name).count == 0
    store = QdrantVectorStore(database, name, embeddings)
    if is_new:
        articles = load_articles("en")
        store.add_documents([Document(a.passage, metadata={"title": a.title}) for a in articles])
    print(f"{name}: {database.count(name).count} articles, {'new' if is_new else 'found on disk'}")
    return store


def one_stage(store: QdrantVectorStore) -> Runnable[str, list[Document]]:
    """What the vectors say."""
    return store.as_retriever(search_kwargs={"k": KEPT})


def two_stages(store: QdrantVectorStore, target: str) -> Runnable[str, list[Document]]:
    """Many candidates by their vectors, of which the reranker keeps the best."""
    reranker = QwireReranker(target=target, top_n=KEPT)
    candidates = store.as_retriever(search_kwargs={"k": CANDIDATES})
    both = RunnableParallel(documents=candidates, query=RunnablePassthrough())
    return both | RunnableLambda(lambda found: reranker.compress_documents(**found))


if __name__ == "__main__":
    main(*sys.argv[1:])
