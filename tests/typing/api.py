"""Never run, only type-checked by `make lint`: what users write must be right for them too."""

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_qwire import QwireEmbeddings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.qwire import QwireEmbedding
from numpy.typing import NDArray

import qwire

embeddings: Embeddings = QwireEmbeddings(target="localhost:50051")
QwireEmbeddings()
QwireEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", dimensions=256, query_instruction="Find it")

embedding: BaseEmbedding = QwireEmbedding(target="localhost:50051")
QwireEmbedding()
QwireEmbedding(dimensions=256, embed_batch_size=64)


def direct() -> None:
    with qwire.Client("localhost:50051") as client:
        documents: NDArray[np.float32] = client.embed_documents(["a", "b"])
        question: NDArray[np.float32] = client.embed_query("a")
        tokens: NDArray[np.int64] = client.embed(["a"]).tokens
        for item in client.embed_stream(f"{i}" for i in range(3)):
            assert item.error is None or isinstance(item.error, qwire.QwireError)
        for pair in client.embed_stream((i, "text") for i in range(3)):
            assert pair.id is not None
        assert (documents @ question).shape == tokens.shape


async def direct_async() -> None:
    async with qwire.AsyncClient() as client:
        question: NDArray[np.float32] = await client.embed_query("a")
        async for item in client.embed_stream(["a", "b"]):
            assert item.embedding is not question
