"""Three ways to the same answers: LangChain, LlamaIndex, and the client with numpy."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import query_engine
import rag_chain
from corpus import load_articles
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import BaseChatModel
    from scores import Ranking

    from qwire import Client

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """One index over the corpus: `rank` gives all of it, best first, `answer` a text."""

    name: str
    rank: Callable[[str], Ranking]
    answer: Callable[[str], str]
    seconds: float = 0.0  # that indexing took


@dataclass(frozen=True)
class Results:
    """The ranking of each question, and the seconds that the median one took."""

    way: Way
    rankings: list[Ranking]
    seconds: float


def build_ways(client: Client, target: str, llm: BaseChatModel | None) -> list[Way]:
    """Index the corpus three times, one after the other."""
    builds = [
        partial(langchain_way, target, llm),
        partial(llama_index_way, target),
        partial(direct_way, client),
    ]
    timed = [_timed(build) for build in builds]
    return [replace(way, seconds=seconds) for way, seconds in timed]


def ask_all(way: Way, questions: Sequence[str]) -> Results:
    """Rank the corpus for each question, one question at a time."""
    timed = [_timed(partial(way.rank, question)) for question in questions]
    return Results(way, [ranking for ranking, _ in timed], median(seconds for _, seconds in timed))


def langchain_way(target: str, llm: BaseChatModel | None) -> Way:
    """InMemoryVectorStore and the chain of `rag_chain.py`."""
    store = rag_chain.index_corpus(QwireEmbeddings(target=target))

    def rank(question: str) -> Ranking:
        found = store.similarity_search_with_score(question, k=len(store.store))
        return {str(document.id): score for document, score in found}

    return Way("LangChain", rank, rag_chain.answer_chain(store, llm).invoke)


def llama_index_way(target: str) -> Way:
    """VectorStoreIndex and the engine of `query_engine.py`."""
    index = query_engine.index_corpus(QwireEmbedding(target=target))
    retriever = index.as_retriever(similarity_top_k=len(index.index_struct.nodes_dict))
    engine = query_engine.answer_engine(index)

    def rank(question: str) -> Ranking:
        return {found.node.node_id: found.get_score() for found in retriever.retrieve(question)}

    return Way("LlamaIndex", rank, lambda question: str(engine.query(question)))


def direct_way(client: Client) -> Way:
    """One matrix; vectors have unit length, so that a product is the cosine."""
    articles = {article.id: article.passage for article in load_articles()}
    names = list(articles)
    vectors = client.embed_documents(list(articles.values()))

    def rank(question: str) -> Ranking:
        scores = vectors @ client.embed_query(question)
        return {names[i]: float(scores[i]) for i in np.argsort(-scores)}

    return Way("direct", rank, lambda question: articles[next(iter(rank(question)))])


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its seconds."""
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began
