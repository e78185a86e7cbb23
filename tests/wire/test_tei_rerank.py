"""`tei.v1.Rerank` on a real socket, with a small random reranker behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.load import LoadedModel
from qwire_server.load_reranker import LoadedReranker, load_reranker
from qwire_server.settings import Settings
from support.rerankers import tiny_reranker
from support.serving import Running, serving
from support.tei import Tei

QUERY = "What is the capital of China?"
TEXTS = ["Beijing.", "a", "The capital of China is Beijing.", "gravity " * 9, "引力", "b"]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> LoadedReranker:
    folder = tiny_reranker(tmp_path_factory.mktemp("model") / "tiny-reranker")
    return load_reranker(Settings(reranker=str(folder), device="cpu", dtype="float32"))


@pytest_asyncio.fixture
async def both(tiny: LoadedModel, ranker: LoadedReranker) -> AsyncIterator[Running]:
    """A server with an embedding model and a reranker."""
    async with serving(lambda _: tiny, load_ranker=lambda *_: ranker, reranker="tiny") as running:
        yield running


@pytest_asyncio.fixture
async def alone(ranker: LoadedReranker) -> AsyncIterator[Running]:
    """A server with nothing but a reranker."""
    async with serving(
        lambda _: pytest.fail("--model none loads nothing"),
        load_ranker=lambda *_: ranker,
        model="none",
        reranker="tiny",
    ) as running:
        yield running


async def rerank(running: Running, **fields: Any) -> Any:
    tei = Tei(running.channel)
    fields = {"query": QUERY, "texts": TEXTS, "truncate": True} | fields
    return await tei.call("Rerank/Rerank", tei.message("RerankRequest", **fields))


async def rerank_stream(running: Running, *texts: str, **fields: Any) -> Any:
    tei = Tei(running.channel)
    fields = {"query": QUERY, "truncate": True} | fields
    requests = [tei.message("RerankStreamRequest", text=text, **fields) for text in texts]
    return await tei.call("Rerank/RerankStream", iter(requests))


async def expected(running: Running, *, raw_scores: bool = False) -> dict[int, float]:
    """Scores as `qwire.v1` gives them."""
    options = rank_pb.RerankOptions(raw_scores=raw_scores)
    request = rank_pb.RerankRequest(query=QUERY, documents=TEXTS, options=options)
    return {r.index: r.score for r in (await running.ranking.Rerank(request)).results}


@pytest.mark.parametrize("raw_scores", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
async def test_scores_are_those_of_qwire_best_first(both: Running, raw_scores, streamed):
    if streamed:
        reply = await rerank_stream(both, *TEXTS, raw_scores=raw_scores)
    else:
        reply = await rerank(both, raw_scores=raw_scores)
    scores = [rank.score for rank in reply.ranks]
    assert scores == sorted(scores, reverse=True)
    found = {rank.index: rank.score for rank in reply.ranks}
    assert found == pytest.approx(await expected(both, raw_scores=raw_scores), abs=1e-6)
    assert not any(rank.HasField("text") for rank in reply.ranks)


async def test_texts_come_back_if_they_are_asked_for(both: Running):
    for reply in (
        await rerank(both, return_text=True),
        await rerank_stream(both, *TEXTS, return_text=True),
    ):
        assert [rank.text for rank in reply.ranks] == [TEXTS[rank.index] for rank in reply.ranks]


async def test_each_text_of_a_stream_has_its_own_query(both: Running):
    tei = Tei(both.channel)
    asked = [("q one", "a"), ("q one", "b"), ("another question", "a")]
    requests = [
        tei.message("RerankStreamRequest", query=query, text=text, raw_scores=True)
        for query, text in asked
    ]
    reply = await tei.call("Rerank/RerankStream", iter(requests))
    found = {rank.index: rank.score for rank in reply.ranks}
    for i, (query, text) in enumerate(asked):
        alone = await rerank(both, query=query, texts=[text], raw_scores=True)
        assert found[i] == pytest.approx(alone.ranks[0].score, abs=1e-5)


async def test_a_long_stream_is_one_answer(both: Running):
    reply = await rerank_stream(both, *TEXTS * 50)
    assert sorted(rank.index for rank in reply.ranks) == list(range(300))
    assert reply.metadata.compute_chars == 50 * sum(len(QUERY) + len(text) for text in TEXTS)
    assert reply.metadata.total_time_ns >= reply.metadata.inference_time_ns > 0


async def test_metadata_and_headers_say_what_it_took(both: Running):
    tei = Tei(both.channel)
    call = tei.call("Rerank/Rerank", tei.message("RerankRequest", query=QUERY, texts=TEXTS))
    took = (await call).metadata
    assert took.compute_chars == sum(len(QUERY) + len(text) for text in TEXTS)
    assert took.compute_tokens > took.compute_chars / 10
    assert dict(await call.initial_metadata())["x-compute-tokens"] == str(took.compute_tokens)


async def test_what_cannot_be_scored_is_an_invalid_argument(both: Running):
    for call, said in (
        (rerank(both, texts=[]), "`texts` cannot be empty"),
        (rerank(both, texts=["w " * 2000], truncate=False), "`inputs` must have less than"),
        (rerank_stream(both, "a", "w " * 2000, truncate=False), "`inputs` must have less than"),
        (rerank(both, truncation_direction=5), "0 (right) or 1 (left)"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in caught.value.details()


async def test_a_server_without_an_embedding_model_says_so(alone: Running):
    tei = Tei(alone.channel)
    info = await tei.call("Info/Info", tei.message("InfoRequest"))
    assert info.model_type == 2  # reranker
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tei.embed("a")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert len((await rerank(alone)).ranks) == len(TEXTS)
    request = tei.message("EncodeRequest", inputs="hello world")
    tokens = (await tei.call("Tokenize/Tokenize", request)).tokens
    assert "".join(token.text for token in tokens) == "hello world"
    request = tei.message("DecodeRequest", ids=[token.id for token in tokens])
    assert (await tei.call("Tokenize/Decode", request)).text == "hello world"
    for service, status in (("Embed", 2), ("Rerank", 1), ("Tokenize", 1), ("Predict", 2)):
        check = health_pb2.HealthCheckRequest(service=f"tei.v1.{service}")
        assert (await health_pb2_grpc.HealthStub(alone.channel).Check(check)).status == status


async def test_beside_an_embedding_model_that_one_is_named(both: Running):
    tei = Tei(both.channel)
    assert (await tei.call("Info/Info", tei.message("InfoRequest"))).model_type == 0
