"""Hybrid retrieval in LangChain: BM25 for what is typed word for word, vectors for what is meant.

    python examples/hybrid_langchain.py [localhost:50051]

The questions in other words were written to share few words with their answers: the worst that can
happen to BM25. So vectors weigh more here; judge it on questions of your own.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from corpus import load_articles, load_questions
from keywords import EXACT, Keywords, judge
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qwire import QwireEmbeddings

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun

TARGET = os.environ.get("QWIRE_TARGET", "localhost:50051")
RRF = 10  # of reciprocal rank fusion: the larger, the less a first place counts


class KeywordRetriever(BaseRetriever):
    """BM25 as a retriever."""

    documents: list[Document]
    keywords: Keywords

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002  part of the interface
    ) -> list[Document]:
        return [self.documents[i] for i in self.keywords.best(query)]


class FusionRetriever(BaseRetriever):
    """The documents of several retrievers, by the places that each gave them."""

    retrievers: list[BaseRetriever]
    weights: list[float]

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002  part of the interface
    ) -> list[Document]:
        scores: dict[str, float] = defaultdict(float)
        found = {}
        for retriever, weight in zip(self.retrievers, self.weights, strict=True):
            for place, document in enumerate(retriever.invoke(query)):
                assert document.id
                scores[document.id] += weight / (RRF + place)
                found[document.id] = document
        return [found[name] for name in sorted(scores, key=scores.__getitem__, reverse=True)]


def main(target: str = TARGET) -> None:
    """What each way finds, by kind of query."""
    documents = [Document(article.passage, id=article.id) for article in load_articles("en")]
    store = InMemoryVectorStore(QwireEmbeddings(target=target))
    store.add_documents(documents)
    by_words = KeywordRetriever(
        documents=documents, keywords=Keywords([each.page_content for each in documents])
    )
    by_meaning = store.as_retriever(search_kwargs={"k": 20})
    ways = {
        "BM25": by_words,
        "vectors": by_meaning,
        "both": FusionRetriever(retrievers=[by_words, by_meaning], weights=[1, 2]),
    }
    meant = {asked.question: asked.answers[0] for asked in load_questions("en")}
    print(f"{'right one first, among three':29}{'word for word':>16}{'in other words':>16}")
    for name, retriever in ways.items():
        ids = partial(rank_ids, retriever)
        print(f"{name:29}{judge(EXACT, ids):>16}{judge(meant, ids):>16}")


def rank_ids(retriever: BaseRetriever, query: str) -> list[str]:
    """Ids of the documents found, best first."""
    return [document.id for document in retriever.invoke(query) if document.id]


if __name__ == "__main__":
    main(*sys.argv[1:])
