"""Lists whose texts a busy or slow server would let wait too long for unary calls."""

from __future__ import annotations

import asyncio
import pickle
import time

import grpc
import numpy as np
import pytest

import qwire
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import Refusal, score_of, unit_vectors

BUSY = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after_ms=60_000)
TOO_LATE = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
TEXTS = [f"text {number}" for number in range(200)]


async def answer_slowly(server, requests, *, alive_seconds, times):
    """Each message is answered after many signs of life."""
    async for chunk in requests:
        for _ in range(times):
            await asyncio.sleep(alive_seconds)
            yield pb.EmbedStreamResponse(notice=pb.NOTICE_ALIVE)
        yield server.answer(chunk.ids, chunk.texts)


@pytest.mark.parametrize("refusal", [BUSY, TOO_LATE])
def test_a_list_that_is_refused_goes_over_a_stream_once(server, client, refusal):
    server.refusals["Embed"].append(refusal)
    np.testing.assert_allclose(client.embed_documents(TEXTS), unit_vectors(TEXTS, 16), rtol=1e-6)
    assert server.count("EmbedStream") == 1
    assert server.count("Embed") <= 4, "requests that were in flight, and no more"


def test_one_text_that_is_refused_goes_over_a_stream(server, client):
    server.refusals["Embed"].append(BUSY)
    np.testing.assert_allclose(client.embed_query("a"), unit_vectors(["a"], 16)[0], rtol=1e-6)
    assert server.count("EmbedStream") == 1


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8", "binary"])
def test_a_stream_gives_a_list_what_calls_give_it(server, client, encoding):
    called = client.embed(TEXTS, encoding=encoding)
    server.refusals["Embed"].extend([BUSY] * 4)
    streamed = client.embed(TEXTS, encoding=encoding)
    assert server.count("EmbedStream") == 1
    np.testing.assert_array_equal(streamed.raw, called.raw)
    np.testing.assert_array_equal(streamed.vectors, called.vectors)
    np.testing.assert_array_equal(streamed.tokens, called.tokens)
    np.testing.assert_array_equal(streamed.truncated, called.truncated)
    assert (streamed.model, streamed.fingerprint) == (called.model, called.fingerprint)


def test_documents_that_are_refused_are_scored_over_a_stream(server, client):
    server.refusals["Rerank"].append(BUSY)
    ranking = client.rerank("q", TEXTS, top_n=3)
    assert server.count("RerankStream") == 1
    expected = [score_of("q", text) for text in TEXTS]
    np.testing.assert_allclose(ranking.scores, expected)
    assert [result.score for result in ranking] == sorted(expected, reverse=True)[:3]


def test_progress_is_counted_over_a_stream_too(server, client):
    server.refusals["Embed"].append(BUSY)
    seen = []
    client.embed(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (200, 200)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_list_ends_however_slow_the_server_is_while_it_shows_progress(server, connect):
    client = connect(server.target, timeout=1)
    server.refusals["Embed"].append(TOO_LATE)
    server.stream = lambda requests, _: answer_slowly(server, requests, alive_seconds=0.2, times=6)
    np.testing.assert_allclose(client.embed_documents(TEXTS), unit_vectors(TEXTS, 16), rtol=1e-6)


def test_the_server_is_asked_for_signs_of_life_in_time(server, connect):
    client = connect(server.target, timeout=15)
    server.refusals["Embed"].append(BUSY)
    client.embed(["a"])
    (stream,) = [seen for seen in server.seen if seen.method == "EmbedStream"]
    assert stream.metadata["qwire-alive-ms"] == "1500"
    (call,) = [seen for seen in server.seen if seen.method == "Embed"]
    assert call.metadata["qwire-max-wait-ms"] == "7500"


def test_a_list_without_progress_fails_in_the_time_of_the_client(server, connect):
    client = connect(server.target, timeout=1)
    gate = server.hold(TEXTS[0])

    async def say_nothing(requests, _):
        async for _chunk in requests:
            await gate.wait()
            yield pb.EmbedStreamResponse()

    server.stream = say_nothing
    began = time.monotonic()
    with pytest.raises(qwire.DeadlineExceededError, match="no progress for 1 s"):
        client.embed(TEXTS)
    assert time.monotonic() - began >= 0.9
    gate.open()


def test_the_error_of_a_list_carries_what_was_answered_by_calls(server, client):
    client.describe()
    server.refused_texts["text 150"] = Refusal(grpc.StatusCode.INTERNAL, "MODEL_FAILED")
    with pytest.raises(qwire.ModelFailedError) as caught:
        client.embed(TEXTS, batch_size=50)
    check_partial(caught.value)
    check_partial(pickle.loads(pickle.dumps(caught.value)))
    assert caught.value.index == 150


def test_the_error_of_a_list_carries_what_was_answered_by_a_stream(server, client):
    server.refusals["Embed"].append(BUSY)
    server.refused_texts["text 150"] = Refusal(grpc.StatusCode.INTERNAL, "MODEL_FAILED")
    with pytest.raises(qwire.ModelFailedError, match="text 150") as caught:
        client.embed(TEXTS)
    check_partial(caught.value)
    assert caught.value.index == 150


def check_partial(error):
    """The vectors stand beside the positions of their texts, and the text to blame has none."""
    indices = error.partial.indices.tolist()
    assert indices, "something had been answered"
    assert 150 not in indices
    expected = unit_vectors([TEXTS[index] for index in indices], 16)
    np.testing.assert_allclose(error.partial.embeddings.vectors, expected, rtol=1e-6)


def test_the_error_of_a_reranking_carries_the_scores_that_were_answered(server, client):
    server.refused_texts["text 150"] = Refusal(grpc.StatusCode.INTERNAL, "MODEL_FAILED")
    with pytest.raises(qwire.ModelFailedError) as caught:
        client.rerank("q", TEXTS, batch_size=50)
    partial = caught.value.partial
    expected = [score_of("q", TEXTS[index]) for index in partial.indices]
    np.testing.assert_allclose(partial.scores, expected)


def test_an_error_before_anything_was_answered_carries_nothing(server, client):
    server.refusals["Embed"].append(Refusal(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"))
    with pytest.raises(qwire.ModelNotFoundError) as caught:
        client.embed(["a"])
    assert caught.value.partial is None


def test_a_timeout_of_the_call_is_a_deadline_for_the_whole_list(server, connect):
    client = connect(server.target, timeout=60)
    client.embed(TEXTS, batch_size=10, timeout=30)
    seconds = [seen.seconds for seen in server.seen if seen.method == "Embed"]
    assert len(seconds) == 20
    assert all(0 < left < 30.5 for left in seconds)
    assert all("qwire-max-wait-ms" not in seen.metadata for seen in server.seen)


def test_with_a_timeout_of_its_own_a_refused_call_is_an_error_or_tried_again(server, client):
    server.refusals["Embed"].append(TOO_LATE)
    with pytest.raises(qwire.DeadlineExceededError):
        client.embed(["a"], timeout=5)
    assert server.count("EmbedStream") == 0


def test_without_tries_a_refusal_is_an_error(server, connect):
    client = connect(server.target, max_attempts=1)
    server.refusals["Embed"].append(BUSY)
    with pytest.raises(qwire.OverloadedError):
        client.embed(["a"])
    assert server.count("EmbedStream") == 0


def test_a_list_is_of_one_model_over_calls_and_stream(server, client):
    def change_once_answered(_reply):
        server.fingerprint = "fake-2"

    server.rewrite = change_once_answered
    server.refused_texts["text 70"] = BUSY
    with pytest.raises(qwire.FingerprintMismatchError):
        client.embed(TEXTS)


@pytest.mark.parametrize("query", ["q", ""])
def test_a_stream_of_documents_begins_with_the_query(server, client, query):
    asked = []
    answer = server.rank_stream

    async def listen(requests, context):
        async def each():
            async for request in requests:
                asked.append((request.HasField("options"), request.query))
                yield request

        async for reply in answer(each(), context):
            yield reply

    server.rank_stream = listen
    server.refusals["Rerank"].append(BUSY)
    client.rerank(query, TEXTS, batch_size=20)
    assert asked[0] == (True, query)
    assert {first for first, _ in asked[1:]} == {False}


def test_embed_stream_ends_after_its_timeout_without_progress(server, client):
    async def say_nothing(requests, _):
        yield server.answer([0], ["a"])
        async for _chunk in requests:
            pass
        await asyncio.sleep(30)

    server.stream = say_nothing
    stream = client.embed_stream(["a", "b"], timeout=0.5)
    assert next(stream).id == 0
    with pytest.raises(qwire.DeadlineExceededError, match=r"no progress for 0\.5 s"):
        next(stream)


def test_embed_stream_tells_how_far_it_is(client, capsys):
    seen = []
    stream = client.embed_stream(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert len(list(stream)) == 200
    assert seen == [(done, 200) for done in range(1, 201)]
    assert len(list(client.embed_stream(iter(TEXTS), show_progress=True))) == 200
    assert "200" in capsys.readouterr().err
