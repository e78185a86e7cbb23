"""Both adapters give what the direct client gives, bit for bit, however they are called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding

from qwire import InvalidRequestError
from support.machine_speed import hang_limit
from support.texts import HARD

if TYPE_CHECKING:
    import qwire
    from support.fake_server import FakeServer

TASK = "Find the article that solves the problem"
QUESTION = "When do I get my money back?\n"


def test_documents_are_what_the_direct_client_gives(adapter, qwen_server, qwen: qwire.Client):
    """Newlines, control characters, emoji, the empty string: nothing is altered on the way."""
    assert adapter(target=qwen_server).embed(HARD) == qwen.embed_documents(HARD).tolist()


def test_queries_are_what_the_direct_client_gives(adapter, qwen_server, qwen: qwire.Client):
    embedding = adapter(target=qwen_server)
    for text in (QUESTION, "", "退款需要几天"):
        assert embedding.ask(text) == qwen.embed_query(text).tolist()


async def test_async_gives_the_same(adapter, qwen_server, qwen: qwire.Client):
    embedding = adapter(target=qwen_server)
    assert await embedding.aembed(HARD) == qwen.embed_documents(HARD).tolist()
    assert await embedding.aask(QUESTION) == qwen.embed_query(QUESTION).tolist()


def test_a_query_is_prompted_and_a_document_is_not(adapter, qwen_server, qwen: qwire.Client):
    """By default, with the model's own prompt, byte for byte."""
    embedding = adapter(target=qwen_server)
    prompt = qwen.describe().prompts.query
    assert prompt.endswith("\nQuery:")
    by_hand = qwen.embed([QUESTION, prompt + QUESTION], input_type="none").vectors
    plain, prompted = by_hand.tolist()
    assert plain != prompted
    np.testing.assert_allclose(embedding.embed([QUESTION])[0], plain, atol=1e-6)
    np.testing.assert_allclose(embedding.ask(QUESTION), prompted, atol=1e-6)


def test_an_instruction_replaces_the_task(adapter, qwen_server, qwen: qwire.Client):
    """Each for its own kind of text, and the empty one is no prompt at all."""
    told = adapter(target=qwen_server, query_instruction=TASK)
    assert told.ask(QUESTION) == qwen.embed_query(QUESTION, instruction=TASK).tolist()
    assert told.ask(QUESTION) != qwen.embed_query(QUESTION).tolist()
    assert told.embed([QUESTION]) == qwen.embed_documents([QUESTION]).tolist()

    told = adapter(target=qwen_server, **{adapter.documents: TASK}, query_instruction="")
    expected = qwen.embed_documents([QUESTION], instruction=TASK).tolist()
    assert told.embed([QUESTION]) == expected
    assert told.ask(QUESTION) == qwen.embed_query(QUESTION, instruction="").tolist()


def test_dimensions_and_normalize_reach_the_server(adapter, qwen_server, qwen: qwire.Client):
    embedding = adapter(target=qwen_server, dimensions=32, normalize=False)
    expected = qwen.embed_documents(["a"], dimensions=32, normalize=False).tolist()
    assert embedding.embed(["a"]) == expected
    assert len(embedding.ask("a")) == 32


def test_order_holds_over_many_requests(adapter, fake: FakeServer):
    """Slices, requests in flight and late answers change nothing."""
    texts = [f"line {i}" for i in range(600)]
    embedding = adapter(target=fake.target, **{adapter.batch: 50})
    whole = embedding.embed(texts)
    assert fake.count("Embed") >= 12
    assert whole == [adapter(target=fake.target).embed([text])[0] for text in texts[:3]] + whole[3:]
    assert whole[::-1] == embedding.embed(texts[::-1])
    assert asyncio.run(embedding.aembed(texts)) == whole


def test_no_texts_give_no_vectors(adapter):
    """Not even a server is needed for that."""
    embedding = adapter(target="localhost:1")
    if isinstance(embedding.embedding, BaseEmbedding) and not hasattr(BaseEmbedding, "to_payload"):
        pytest.skip("this LlamaIndex wants the model's name at each batch, and a server knows it")
    assert embedding.embed([]) == []
    assert asyncio.run(embedding.aembed([])) == []


def test_a_query_text_may_be_a_document_too(adapter, demo_server, demo: qwire.Client):
    """A model without prompts gives one vector for both."""
    embedding = adapter(target=demo_server)
    assert embedding.ask("hello") == embedding.embed(["hello"])[0]


async def test_async_calls_are_bounded(adapter, fake: FakeServer):
    """LlamaIndex starts all slices at once."""
    texts = [f"line {i}" for i in range(400)]
    held = [fake.hold(texts[0]), fake.hold(texts[8])]
    embedding = adapter(target=fake.target, **{adapter.batch: 8}, max_concurrency=2)
    vectors = asyncio.create_task(embedding.aembed(texts))
    for gate in held:
        assert await asyncio.to_thread(gate.arrived.wait, hang_limit(10))
    for gate in held:
        gate.open()
    assert len(await vectors) == 400
    assert fake.most_in_flight == 2


def test_a_prompt_is_chosen_by_its_name(adapter, qwen_server, qwen: qwire.Client):
    """Each for its own kind of text."""
    names = {adapter.documents.replace("instruction", "prompt_name"): "query"}
    told = adapter(target=qwen_server, query_prompt_name="document", **names)
    assert told.ask(QUESTION) == qwen.embed([QUESTION], prompt_name="document").vectors[0].tolist()
    assert told.embed(HARD) == qwen.embed(HARD, prompt_name="query").vectors.tolist()
    assert asyncio.run(told.aembed([QUESTION]))[0] == qwen.embed_query(QUESTION).tolist()
    assert adapter(target=qwen_server, **names).ask(QUESTION) == qwen.embed_query(QUESTION).tolist()


def test_an_unknown_prompt_name_is_refused(adapter, qwen_server):
    with pytest.raises(InvalidRequestError, match='Available prompts: \\["query", "document"\\]'):
        adapter(target=qwen_server, query_prompt_name="title").ask(QUESTION)


@pytest.mark.parametrize("side", ["query", "document", "text"])
def test_a_prompt_name_beside_an_instruction_is_refused_at_once(adapter, side: str):
    """Both would choose the prompt; no server is needed to say so."""
    words = {f"{side}_instruction": "", f"{side}_prompt_name": "law"}
    with pytest.raises(ValueError, match="each of them chooses the prompt"):
        adapter(target="localhost:1", **words)
