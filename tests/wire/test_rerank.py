"""`qwire.v1.Reranking` on a real socket, with a small random reranker behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.api.reranker import ranked
from qwire_server.errors import StartError
from qwire_server.load_reranker import LoadedReranker, load_reranker
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support.rerankers import tiny_reranker
from support.runners import FakeRunner
from support.serving import Running, fake_model, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qwire_server.load import LoadedModel

QUERY = "What is the capital of China?"
DOCUMENTS = ["Beijing.", "a", "The capital of China is Beijing.", "gravity " * 9, "", "a"]
RANKER_ID = "tiny-reranker"


@pytest.fixture(scope="session")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> LoadedReranker:
    """A small random Qwen3-Reranker, loaded once."""
    folder = tiny_reranker(tmp_path_factory.mktemp("model") / RANKER_ID)
    return load_reranker(Settings(reranker=str(folder), device="cpu", dtype="float32"))


@pytest_asyncio.fixture
async def both(tiny: LoadedModel, ranker: LoadedReranker) -> AsyncIterator[Running]:
    """A server with an embedding model and a reranker."""
    async with serving(lambda _: tiny, load_ranker=lambda *_: ranker, reranker="tiny") as running:
        yield running


@pytest_asyncio.fixture
async def alone(ranker: LoadedReranker) -> AsyncIterator[Running]:
    """A server with nothing but a reranker."""

    def never(_: Settings) -> LoadedModel:
        raise AssertionError("--model none loads nothing")

    async with serving(
        never, load_ranker=lambda *_: ranker, model="none", reranker="tiny"
    ) as running:
        yield running


def request(**options: Any) -> rank_pb.RerankRequest:
    """A request for all documents."""
    return rank_pb.RerankRequest(
        query=QUERY, documents=DOCUMENTS, options=rank_pb.RerankOptions(**options)
    )


async def scores(running: Running, **options: Any) -> list[float]:
    """Scores in the order of the documents."""
    reply = await running.ranking.Rerank(request(**options))
    found = {result.index: result.score for result in reply.results}
    return [found[i] for i in range(len(DOCUMENTS))]


async def stream(running: Running, *messages: rank_pb.RerankStreamRequest) -> list[Any]:
    """All replies to a stream of messages."""
    call = running.ranking.RerankStream()
    for message in messages:
        await call.write(message)
    await call.done_writing()
    return [reply async for reply in call]


async def code_of(call: Any) -> tuple[grpc.StatusCode, str, int | None]:
    """Status, our code and the index of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata())
    status = pb.Status.FromString(trailers["grpc-status-details-bin"])
    detail = pb.ErrorDetail()
    assert status.details[0].Unpack(detail)
    index = detail.index if detail.HasField("index") else None
    return caught.value.code(), trailers["qwire-error-code"], index


def test_equal_scores_keep_their_order():
    assert ranked([0.5, 0.9, 0.5, 0.9]) == [1, 3, 0, 2]
    assert ranked([0.5, 0.9, 0.5, 0.9], 3) == [1, 3, 0]
    assert ranked([], 3) == []


async def test_results_come_best_first(both: Running):
    reply = await both.ranking.Rerank(request())
    found = [result.score for result in reply.results]
    assert found == sorted(found, reverse=True)
    assert sorted(result.index for result in reply.results) == list(range(len(DOCUMENTS)))
    by_index = {result.index: result.score for result in reply.results}
    assert by_index[1] == pytest.approx(by_index[5], abs=1e-5)  # the same text twice
    assert all(0 < score < 1 for score in found)
    assert len(reply.usage.tokens) == len(DOCUMENTS)
    assert reply.model == RANKER_ID


async def test_top_n_and_documents_are_as_asked(both: Running):
    whole = await both.ranking.Rerank(request())
    some = rank_pb.RerankRequest(query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True)
    reply = await both.ranking.Rerank(some)
    assert [r.index for r in reply.results] == [r.index for r in whole.results][:2]
    assert [r.document for r in reply.results] == [DOCUMENTS[r.index] for r in reply.results]
    assert not any(result.HasField("document") for result in whole.results)
    assert len(reply.usage.tokens) == len(DOCUMENTS)


async def test_a_stream_gives_the_scores_of_the_unary_call(both: Running):
    expected = await scores(both, raw_scores=True)
    first = rank_pb.RerankStreamRequest(
        query=QUERY,
        options=rank_pb.RerankOptions(raw_scores=True),
        ids=[10, 11],
        documents=DOCUMENTS[:2],
    )
    rest = rank_pb.RerankStreamRequest(ids=[12, 13, 14, 15], documents=DOCUMENTS[2:])
    replies = await stream(both, first, rest)
    found = {i: s for reply in replies for i, s in zip(reply.ids, reply.scores, strict=True)}
    assert [found[10 + i] for i in range(6)] == pytest.approx(expected, abs=1e-5)
    assert replies[0].model == RANKER_ID
    assert not any(reply.errors for reply in replies)


async def test_a_bad_document_of_a_stream_is_its_own_error(both: Running):
    long = "word " * 600
    first = rank_pb.RerankStreamRequest(
        query=QUERY,
        options=rank_pb.RerankOptions(truncate=pb.TRUNCATE_NONE),
        ids=[1, 2],
        documents=[long, "short"],
    )
    replies = await stream(both, first)
    assert [error.id for reply in replies for error in reply.errors] == [1]
    assert [pb.ErrorCode.Name(e.code) for r in replies for e in r.errors] == ["TEXT_TOO_LONG"]
    assert [i for reply in replies for i in reply.ids] == [2]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([rank_pb.RerankStreamRequest(ids=[1], documents=["a"])], "no query"),
        ([rank_pb.RerankStreamRequest(query="q", ids=[1])], "1 ids for 0 texts"),
        ([rank_pb.RerankStreamRequest(query="q")] * 2, "first message"),
    ],
)
async def test_a_stream_that_is_not_understood_ends_with_the_reason(both, messages, told):
    with pytest.raises(grpc.aio.AioRpcError, match=told) as caught:
        await stream(both, *messages)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_errors_name_what_is_wrong(both: Running):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    many = rank_pb.RerankRequest(query="q", documents=["a"] * 2049)
    assert await code_of(both.ranking.Rerank(many)) == (invalid, "INVALID_REQUEST", None)
    large = rank_pb.RerankRequest(query="q", documents=["a", "b" * 300_000])
    assert await code_of(both.ranking.Rerank(large)) == (invalid, "TEXT_TOO_LARGE", 1)
    long_query = rank_pb.RerankRequest(query="word " * 600, documents=["a"])
    assert await code_of(both.ranking.Rerank(long_query)) == (invalid, "INVALID_REQUEST", None)
    uncut = rank_pb.RerankRequest(
        query="q",
        documents=["a", "word " * 600],
        options=rank_pb.RerankOptions(truncate=pb.TRUNCATE_NONE),
    )
    assert await code_of(both.ranking.Rerank(uncut)) == (invalid, "TEXT_TOO_LONG", 1)
    other = request(model="Qwen/Other")
    not_found = grpc.StatusCode.NOT_FOUND
    assert await code_of(both.ranking.Rerank(other)) == (not_found, "MODEL_NOT_FOUND", None)
    stale = request(expected_fingerprint="0" * 16)
    failed = grpc.StatusCode.FAILED_PRECONDITION
    assert await code_of(both.ranking.Rerank(stale)) == (failed, "FINGERPRINT_MISMATCH", None)


async def test_no_documents_have_no_scores(both: Running):
    reply = await both.ranking.Rerank(rank_pb.RerankRequest(query="q"))
    assert not reply.results


async def test_a_server_without_a_reranker_says_so(fake: Running):
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "NOT_SERVED", None)
    assert await code_of(fake.ranking.Rerank(request())) == failed
    description = await fake.stub.Describe(pb.DescribeRequest())
    assert not description.HasField("reranker")


async def test_a_reranker_alone_scores_and_does_not_embed(alone: Running):
    assert len(await scores(alone)) == len(DOCUMENTS)
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "NOT_SERVED", None)
    assert await code_of(alone.stub.Embed(pb.EmbedRequest(texts=["a"]))) == failed
    description = await alone.stub.Describe(pb.DescribeRequest())
    assert (description.model, description.reranker.model) == ("", RANKER_ID)
    assert description.limits.texts_per_request == 2048
    stats = await alone.stub.Stats(pb.StatsRequest())
    assert stats.texts == len(DOCUMENTS)


async def test_health_tells_which_service_has_a_model(alone: Running):
    health = health_pb2_grpc.HealthStub(alone.channel)
    serving_, not_serving = 1, 2
    for service, expected in {
        "": serving_,
        "qwire.v1.Reranking": serving_,
        "qwire.v1.Embedding": not_serving,
    }.items():
        reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == expected, service


async def test_describe_tells_of_both(both: Running, ranker: LoadedReranker):
    description = await both.stub.Describe(pb.DescribeRequest())
    assert description.model == "tiny-qwen3"
    assert description.reranker.model == RANKER_ID
    assert description.reranker.fingerprint == ranker.loaded.served.fingerprint
    assert description.reranker.instruction == ranker.prompt.instruction
    assert description.reranker.max_tokens == 512


async def test_both_models_share_the_device_and_a_batch_holds_one(both: Running):
    """Embedding and reranking at once give what each gives alone."""
    expected_scores, expected_rows = await scores(both), await both.embed(*DOCUMENTS)
    both.observer.batches.clear()
    calls = [scores(both) for _ in range(8)], [both.embed(*DOCUMENTS) for _ in range(8)]
    found = await asyncio.gather(*calls[0], *calls[1])
    for mixed in found[:8]:
        assert mixed == pytest.approx(expected_scores, abs=1e-5)
    for rows in found[8:]:
        assert abs(rows - expected_rows).max() < 1e-5
    models = {batch.model for batch in both.observer.batches}
    assert models == {"tiny-qwen3", RANKER_ID}
    assert sum(batch.texts for batch in both.observer.batches) == 16 * len(DOCUMENTS)


async def test_the_prompt_and_the_query_are_computed_once_for_all_documents(
    both: Running, ranker: LoadedReranker
):
    """And the scores are those of a runner that shares nothing, which are the recipe's."""
    found = await scores(both, raw_scores=True)
    prompt = ranker.prompt.before_document(QUERY, None)
    encoded = ranker.loaded.tokenizer.encode(DOCUMENTS, prompt)
    batch = both.observer.batches[-1]
    assert batch.texts == len(DOCUMENTS)
    assert batch.saved_tokens >= (len(DOCUMENTS) - 1) * encoded.shared
    whole = ranker.loaded.runner.launch(encoded.ids).wait().rows[:, 0]
    assert found == pytest.approx(whole.tolist(), abs=1e-5)


async def test_the_queue_counts_device_time_of_both(tiny: LoadedModel, ranker: LoadedReranker):
    """What the embedding model holds is no more there for the reranker."""
    runner = FakeRunner()
    loaded = fake_model(runner)
    async with serving(
        lambda _: loaded,
        runner=runner,
        load_ranker=lambda *_: ranker,
        reranker="tiny",
        queue_seconds=0.0001,
        waiting_requests=1,
    ) as running:
        runner.gate.clear()
        held = asyncio.ensure_future(running.embed(*["a word " * 20] * 20))
        await until(lambda: runner.batches != [])
        waiting = asyncio.ensure_future(running.ranking.Rerank(request()))
        await until(lambda: "1 wait" in repr(running.server._gate.embedder()))
        refused = await code_of(running.ranking.Rerank(request()))
        assert refused[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        runner.gate.set()
        await held
        assert (await waiting).results


async def test_a_draining_server_tells_a_stream(both: Running):
    call = both.ranking.RerankStream()
    await call.write(rank_pb.RerankStreamRequest(query=QUERY, ids=[1], documents=["a"]))
    assert (await call.read()).ids == [1]
    stopping = asyncio.ensure_future(both.server.stop())
    assert (await call.read()).notice == pb.NOTICE_DRAINING
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await stopping


async def test_nothing_to_serve_refuses_to_start():
    server = Server(Settings(model="none", grpc_port=0))
    with pytest.raises(StartError, match="--model none needs --reranker"):
        await server.start()


async def test_two_models_of_one_name_refuse_to_start(tiny: LoadedModel, ranker: LoadedReranker):
    same = LoadedReranker(tiny, ranker.prompt)
    server = Server(
        Settings(model="demo", reranker="x", grpc_port=0),
        load=lambda _: tiny,
        load_ranker=lambda *_: same,
    )
    with pytest.raises(StartError, match="rename a folder"):
        await server.start()
