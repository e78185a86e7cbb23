"""What people embed with, behind the same words: both clients, and both adapters.

Each imports its framework when one is made: LlamaIndex takes seconds. Knows nothing about servers.
"""

from __future__ import annotations

import importlib
from typing import Any

import qwire


class Direct:
    """Client and AsyncClient."""

    def __init__(self, **fields: Any) -> None:
        self.embedding = qwire.Client(**fields), qwire.AsyncClient(**fields)

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.embedding[0].embed_documents(texts).tolist()

    async def aembed(self, texts: list[str]) -> list[list[float]]:
        return (await self.embedding[1].embed_documents(texts)).tolist()

    def ask(self, text: str) -> list[float]:
        return self.embedding[0].embed_query(text).tolist()

    async def aask(self, text: str) -> list[float]:
        return (await self.embedding[1].embed_query(text)).tolist()


class _Adapter:
    """The embedding class of a framework."""

    home: tuple[str, str]

    def __init__(self, **fields: Any) -> None:
        self.embedding = self.made()(**fields)

    @classmethod
    def made(cls) -> type:
        module, name = cls.home
        return getattr(importlib.import_module(module), name)


class LangChain(_Adapter):
    """LangChain's words for what every test asks."""

    home = "langchain_qwire", "QwireEmbeddings"
    model, documents, batch = "model", "document_instruction", "batch_size"

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.embedding.embed_documents(texts)

    async def aembed(self, texts: list[str]) -> list[list[float]]:
        return await self.embedding.aembed_documents(texts)

    def ask(self, text: str) -> list[float]:
        return self.embedding.embed_query(text)

    async def aask(self, text: str) -> list[float]:
        return await self.embedding.aembed_query(text)


class LlamaIndex(_Adapter):
    """LlamaIndex's words for what every test asks."""

    home = "llama_index.embeddings.qwire", "QwireEmbedding"
    model, documents, batch = "model_name", "text_instruction", "embed_batch_size"

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.embedding.get_text_embedding_batch(texts)

    async def aembed(self, texts: list[str]) -> list[list[float]]:
        return await self.embedding.aget_text_embedding_batch(texts)

    def ask(self, text: str) -> list[float]:
        return self.embedding.get_query_embedding(text)

    async def aask(self, text: str) -> list[float]:
        return await self.embedding.aget_query_embedding(text)
