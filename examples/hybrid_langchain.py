"""Hybrid retrieval in LangChain: BM25 for what is typed word for word, vectors for what is meant.

python examples/hybrid_langchain.py [localhost:50051]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from corpus import load_articles, load_questions
from keywords import EXACT, Keywords, count_first
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qwire import QwireEmbeddings

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun

RRF = 60  # of reciprocal rank fusion: how little the first places weigh more than the next


class KeywordRetriever(BaseRetriever):
    """BM25 as a retriever."""

    documents: list[Document]
    keywords: Keywords

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [self.documents[i] for i in self.keywords.rank(query)]


class FusionRetriever(BaseRetriever):
    """The documents of several retrievers, by the places that each gave them."""

    retrievers: list[BaseRetriever]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        scores: dict[str, float] = defaultdict(float)
        found = {}
        for retriever in self.retrievers:
            for place, document in enumerate(retriever.invoke(query)):
                assert document.id
                scores[document.id] += 1 / (RRF + place)
                found[document.id] = document
        return [found[name] for name in sorted(scores, key=scores.__getitem__, reverse=True)]


def main(target: str | None = None) -> None:
    """How often each way puts the right article first, by kind of query."""
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
        "both": FusionRetriever(retrievers=[by_words, by_meaning]),
    }
    meant = {asked.question: asked.answers[0] for asked in load_questions("en")}
    print(f"{'right article first':20}{'word for word':>16}{'in other words':>16}")
    for name, retriever in ways.items():
        ids = partial(rank_ids, retriever)
        counts = [f"{count_first(kind, ids)} of {len(kind)}" for kind in (EXACT, meant)]
        print(f"{name:20}{counts[0]:>16}{counts[1]:>16}")


def rank_ids(retriever: BaseRetriever, query: str) -> list[str]:
    """Ids of the documents found, best first."""
    return [document.id for document in retriever.invoke(query) if document.id]


if __name__ == "__main__":
    main(*sys.argv[1:])
