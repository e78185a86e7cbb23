"""A LlamaIndex query engine over the corpus, for any LlamaIndex embedding class.

Nothing here is about Qwire but the class that the command line takes when none is named.

    python examples/query_engine.py --target localhost:50051 "How do I get a refund?"
    python examples/query_engine.py --embeddings llama_index.embeddings.openai:OpenAIEmbedding "..."
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import command_line
from corpus import load_articles
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever  # noqa: TC002  pydantic reads it
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import BaseQueryEngine, CustomQueryEngine
from llama_index.core.schema import TextNode

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.llms import LLM


def build_engine(embed_model: BaseEmbedding, llm: LLM | None = None) -> BaseQueryEngine:
    """A query engine over the corpus; the embedding object is all that changes."""
    return answer_engine(index_corpus(embed_model), llm)


def index_corpus(embed_model: BaseEmbedding, lang: str | None = None) -> VectorStoreIndex:
    """Embed the corpus, or what of it is in one language."""
    nodes = [
        TextNode(
            id_=article.id,
            text=article.passage,
            metadata={"lang": article.lang},
            # LlamaIndex would put the metadata before the text that it embeds.
            excluded_embed_metadata_keys=["lang"],
        )
        for article in load_articles(lang)
    ]
    return VectorStoreIndex(nodes, embed_model=embed_model)


def answer_engine(index: VectorStoreIndex, llm: LLM | None = None) -> BaseQueryEngine:
    """Retrieve, then let the model answer; without one the best passage is the answer."""
    if llm is None:
        return BestPassage(retriever=index.as_retriever(similarity_top_k=3))
    return index.as_query_engine(llm=llm, similarity_top_k=3)


class BestPassage(CustomQueryEngine):
    """Answers with the best passage; LlamaIndex's own engines all want an LLM, OpenAI's at that."""

    retriever: BaseRetriever

    def custom_query(self, query_str: str) -> Response:
        """The best passage, and the nodes found with it."""
        nodes = self.retriever.retrieve(query_str)
        return Response(nodes[0].text, source_nodes=nodes)


def main() -> None:
    """Answer one question."""
    arguments = command_line.parse(
        __doc__,
        embeddings="llama_index.embeddings.qwire:QwireEmbedding",
        llm_help="a LlamaIndex LLM class, such as llama_index.llms.openai:OpenAI; without one the "
        "best passage is the answer",
    )
    llm = command_line.load_class(arguments.llm)() if arguments.llm else None
    engine = build_engine(command_line.make_embeddings(arguments), llm)
    print(engine.query(arguments.question))


if __name__ == "__main__":
    main()
