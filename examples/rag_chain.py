"""A LangChain RAG chain over the corpus, for any LangChain embedding class.

Nothing here is about Qwire but the class that the command line takes when none is named.

    python examples/rag_chain.py --target localhost:50051 "How do I get a refund?"
    python examples/rag_chain.py --embeddings langchain_openai:OpenAIEmbeddings "..."
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import command_line
from corpus import load_articles
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

PROMPT = ChatPromptTemplate.from_template(
    "Answer in the question's language, from these passages only:\n\n{passages}\n\n{question}"
)


def build_chain(embeddings: Embeddings, llm: BaseChatModel | None = None) -> Runnable[str, str]:
    """A chain from a question to its answer; the embedding object is all that changes."""
    return answer_chain(index_corpus(embeddings), llm)


def index_corpus(embeddings: Embeddings) -> InMemoryVectorStore:
    """Embed the corpus."""
    store = InMemoryVectorStore(embeddings)
    store.add_documents(
        [
            Document(article.passage, id=article.id, metadata={"lang": article.lang})
            for article in load_articles()
        ]
    )
    return store


def answer_chain(
    store: InMemoryVectorStore, llm: BaseChatModel | None = None
) -> Runnable[str, str]:
    """Retrieve, then let the model answer; without one the best passage is the answer."""
    retriever = store.as_retriever(search_kwargs={"k": 3})
    if llm is None:
        return retriever | best_passage
    question = {"passages": retriever | all_passages, "question": RunnablePassthrough()}
    return question | PROMPT | llm | StrOutputParser()


def best_passage(documents: list[Document]) -> str:
    """The first: a retriever returns the best one first."""
    return documents[0].page_content


def all_passages(documents: list[Document]) -> str:
    """The passages as the prompt shows them."""
    return "\n\n---\n\n".join(document.page_content for document in documents)


def chat_model(name: str | None) -> BaseChatModel | None:
    """The model that a string such as `openai:gpt-5` or `ollama:qwen3` names."""
    if name is None:
        return None
    from langchain.chat_models import init_chat_model  # noqa: PLC0415  # only --llm needs it

    return init_chat_model(name)


def main() -> None:
    """Answer one question."""
    arguments = command_line.parse(
        __doc__,
        embeddings="langchain_qwire:QwireEmbeddings",
        llm_help="a chat model, such as openai:gpt-5; without one the best passage is the answer",
    )
    chain = build_chain(command_line.make_embeddings(arguments), chat_model(arguments.llm))
    print(chain.invoke(arguments.question))


if __name__ == "__main__":
    main()
