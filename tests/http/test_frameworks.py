"""LangChain's and LlamaIndex's own OpenAI classes, as people have them today."""

from __future__ import annotations

import openai
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from qwire import Client
from support.serving import FAKE_ID
from support.web_front import Front

TEXTS = ["a bird", "two birds"]


@pytest.fixture
def bytes_for_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiktoken downloads its vocabularies; this one has a token for each byte."""
    encoding = tiktoken.Encoding(
        "cl100k_base",
        pat_str=r"(?s).+",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={},
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)


def langchain(web: Front, **chosen) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        **{"base_url": f"{web.url}/v1", "api_key": "EMPTY", "model": FAKE_ID, **chosen}
    )


async def test_langchain_with_check_embedding_ctx_length_off(web: Front):
    """The one argument that it needs; sync and async, documents and a query."""
    embeddings = langchain(web, check_embedding_ctx_length=False)
    with Client(web.grpc) as client:
        expected = client.embed_documents(TEXTS).tolist()
    assert embeddings.embed_documents(TEXTS) == expected
    assert await embeddings.aembed_documents(TEXTS) == expected
    assert embeddings.embed_query(TEXTS[0]) == expected[0]
    assert await embeddings.aembed_query(TEXTS[0]) == expected[0]
    await embeddings.async_client._client.close()  # it would stay open


def test_langchain_as_it_comes_is_told_what_to_set(web: Front, bytes_for_tokens: None):
    """It sends ids of OpenAI's tokenizer, which mean nothing to this model."""
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain(web).embed_documents(TEXTS)


def test_langchain_embeds_questions_by_the_suffix_of_the_name(web: Front):
    questions = langchain(web, check_embedding_ctx_length=False, model=f"{FAKE_ID}:query")
    with Client(web.grpc) as client:
        assert questions.embed_query("where?") == client.embed_query("where?").tolist()


async def test_llama_index(web: Front):
    """Sync and async, in batches of its own."""
    embedding = OpenAILikeEmbedding(
        model_name=FAKE_ID, api_base=f"{web.url}/v1", api_key="fake", embed_batch_size=2
    )
    texts = [*TEXTS, "three birds"]
    with Client(web.grpc) as client:
        expected = client.embed_documents(texts).tolist()
    assert embedding.get_text_embedding_batch(texts) == expected
    assert await embedding.aget_text_embedding_batch(texts) == expected
    assert embedding.get_query_embedding(texts[0]) == expected[0]
    assert await embedding.aget_query_embedding(texts[0]) == expected[0]
    await embedding._get_aclient().close()
