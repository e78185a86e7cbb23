"""Both adapters behind the same words, so that what they share is tested once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire
from support.fake_server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class LangChain:
    """LangChain's words for what every test asks."""

    made = QwireEmbeddings
    model, documents, batch = "model", "document_instruction", "batch_size"

    def __init__(self, **fields: Any) -> None:
        self.embedding = self.made(**fields)

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.embedding.embed_documents(texts)

    async def aembed(self, texts: list[str]) -> list[list[float]]:
        return await self.embedding.aembed_documents(texts)

    def ask(self, text: str) -> list[float]:
        return self.embedding.embed_query(text)

    async def aask(self, text: str) -> list[float]:
        return await self.embedding.aembed_query(text)


class LlamaIndex:
    """LlamaIndex's words for what every test asks."""

    made = QwireEmbedding
    model, documents, batch = "model_name", "text_instruction", "embed_batch_size"

    def __init__(self, **fields: Any) -> None:
        self.embedding = self.made(**fields)

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.embedding.get_text_embedding_batch(texts)

    async def aembed(self, texts: list[str]) -> list[list[float]]:
        return await self.embedding.aget_text_embedding_batch(texts)

    def ask(self, text: str) -> list[float]:
        return self.embedding.get_query_embedding(text)

    async def aask(self, text: str) -> list[float]:
        return await self.embedding.aget_query_embedding(text)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no server and no key."""
    monkeypatch.delenv("QWIRE_TARGET", raising=False)
    monkeypatch.delenv("QWIRE_API_KEY", raising=False)


@pytest.fixture(params=[LangChain, LlamaIndex], ids=["langchain", "llama_index"])
def adapter(request: pytest.FixtureRequest) -> type[LangChain | LlamaIndex]:
    """Either adapter; call it with the fields of the embedding class."""
    return request.param


@pytest.fixture
def demo(demo_server: str) -> Iterator[qwire.Client]:
    """A direct client of the demo model."""
    with qwire.Client(demo_server) as client:
        yield client


@pytest.fixture
def qwen(qwen_server: str) -> Iterator[qwire.Client]:
    """A direct client of the small Qwen3."""
    with qwire.Client(qwen_server) as client:
        yield client


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A server that does as it is told: x's are cut, z's are unknown, letters are tokens."""
    with FakeServer() as server:
        yield server
