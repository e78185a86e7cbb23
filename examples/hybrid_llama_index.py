"""Hybrid retrieval in LlamaIndex: BM25 for what is typed word for word, vectors for what is meant.

    python examples/hybrid_llama_index.py [localhost:50051]

The questions in other words were written to share few words with their answers: the worst that can
happen to BM25. So vectors weigh more here; judge it on questions of your own.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from corpus import load_questions
from keywords import EXACT, Keywords, judge
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from llama_index.embeddings.qwire import QwireEmbedding
from query_engine import index_corpus

if TYPE_CHECKING:
    from llama_index.core import QueryBundle

TARGET = os.environ.get("QWIRE_TARGET", "localhost:50051")


class KeywordRetriever(BaseRetriever):
    """BM25 as a retriever."""

    def __init__(self, nodes: list[BaseNode]) -> None:
        self._nodes = nodes
        self._keywords = Keywords([node.get_content(MetadataMode.NONE) for node in nodes])
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        best = self._keywords.best(query_bundle.query_str)
        return [NodeWithScore(node=self._nodes[i], score=score) for i, score in best.items()]


def main(target: str = TARGET) -> None:
    """What each way finds, by kind of query."""
    index = index_corpus(QwireEmbedding(target=target), lang="en")
    by_words = KeywordRetriever(list(index.docstore.docs.values()))
    by_meaning = index.as_retriever(similarity_top_k=20)
    both = QueryFusionRetriever(
        [by_words, by_meaning],
        mode=FUSION_MODES.RELATIVE_SCORE,
        retriever_weights=[1, 2],
        similarity_top_k=20,
        num_queries=1,  # as it was asked; with more an LLM writes variants of it
        llm=MockLLM(),  # never called, but looked for
        use_async=False,
    )
    ways = {"BM25": by_words, "vectors": by_meaning, "both": both}
    meant = {asked.question: asked.answers[0] for asked in load_questions("en")}
    print(f"{'right one first, among three':29}{'word for word':>16}{'in other words':>16}")
    for name, retriever in ways.items():
        ids = partial(rank_ids, retriever)
        print(f"{name:29}{judge(EXACT, ids):>16}{judge(meant, ids):>16}")


def rank_ids(retriever: BaseRetriever, query: str) -> list[str]:
    """Ids of the nodes found, best first."""
    return [found.node.node_id for found in retriever.retrieve(query)]


if __name__ == "__main__":
    main(*sys.argv[1:])
