"""Never run, only type-checked by `make lint`: what users write must be right for them too."""

import numpy as np
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_qwire import QwireCrossEncoder, QwireEmbeddings, QwireReranker
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.embeddings.qwire import QwireEmbedding
from llama_index.postprocessor.qwire import QwireRerank
from numpy.typing import NDArray

import qwire

embeddings: Embeddings = QwireEmbeddings(target="localhost:50051")
QwireEmbeddings()
QwireEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", dimensions=256, query_instruction="Find it")

embedding: BaseEmbedding = QwireEmbedding(target="localhost:50051")
QwireEmbedding()
QwireEmbedding(dimensions=256, embed_batch_size=64)

reranker: BaseDocumentCompressor = QwireReranker(target="localhost:50051", top_n=None)
cross_encoder: BaseCrossEncoder = QwireCrossEncoder(target="localhost:50051")
postprocessor: BaseNodePostprocessor = QwireRerank(top_n=3, instruction="Find it")


def direct() -> None:
    with qwire.Client("localhost:50051") as client:
        documents: NDArray[np.float32] = client.embed_documents(["a", "b"])
        question: NDArray[np.float32] = client.embed_query("a")
        tokens: NDArray[np.int64] = client.embed(["a"]).tokens
        scores: list[float] = [r.score for r in client.rerank("q", ["a", "b"], top_n=1)]
        assert scores
        for item in client.embed_stream(f"{i}" for i in range(3)):
            assert item.error is None or isinstance(item.error, qwire.QwireError)
        for pair in client.embed_stream((i, "text") for i in range(3)):
            assert pair.id is not None
        assert (documents @ question).shape == tokens.shape


async def direct_async() -> None:
    async with qwire.AsyncClient() as client:
        question: NDArray[np.float32] = await client.embed_query("a")
        assert (await client.rerank("q", ["a"])).results[0].document is None
        async for item in client.embed_stream(["a", "b"]):
            assert item.embedding is not question
