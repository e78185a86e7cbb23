"""The clients against servers that say anything: their own error comes of it, or a sound result.

Never another exception, never a hang, never a vector that is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qwire
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb
from support.liar import Liar
from support.messages import messages

FEW = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}
TEXTS = ["a", "b", "c"]
NAN = np.array([[1, np.nan], [1, 1], [1, 1]], "<f4").tobytes()
INFINITE = np.array([[1, 1], [1, np.inf], [1, 1]], "<f4").tobytes()
GOOD = np.ones((3, 2), "<f4").tobytes()
USAGE = pb.TextUsage(tokens=[1, 1, 1], cut=[0, 0, 0], unknown=[0, 0, 0])
DESCRIPTION = pb.DescribeResponse(
    dimensions=pb.Dimensions(native=2, smallest=2)
).SerializeToString()


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with Liar() as server:
        server.describes = DESCRIPTION
        yield server


@pytest.fixture(scope="module", params=["sync", "aio"])
def client(liar: Liar, request: pytest.FixtureRequest) -> Iterator[qwire.Client]:
    """A client that gives up quickly; the asynchronous one is driven from here."""
    quick = {"timeout": 5, "max_attempts": 1, "reconnect_seconds": 1}
    if request.param == "sync":
        with qwire.Client(liar.target, **quick) as one:
            yield one
        return
    loop = asyncio.new_event_loop()
    aio = qwire.AsyncClient(liar.target, **quick)
    yield _Driven(aio, loop)
    loop.run_until_complete(aio.close())
    loop.close()


class _Driven:
    """The asynchronous client behind the methods of the other."""

    def __init__(self, client: qwire.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str):
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))

    def embed_stream(self, texts, **kwargs):
        async def collect():
            return [item async for item in self._client.embed_stream(texts, **kwargs)]

        return self._loop.run_until_complete(collect())


def vectors(**changes) -> pb.Vectors:
    fields = {"data": GOOD, "rows": 3, "dim": 2, "encoding": pb.ENCODING_FLOAT32, **changes}
    return pb.Vectors(**fields)


def is_sound(result, count: int) -> bool:
    return result.shape[0] == count and bool(np.isfinite(result.vectors).all())


LIES = {
    "too few rows": vectors(rows=2),
    "too many rows": vectors(rows=4),
    "wrong dim": vectors(dim=3),
    "no dim": vectors(dim=0),
    "huge dim": vectors(dim=2**32 - 1),
    "too few bytes": vectors(data=GOOD[:-1]),
    "too many bytes": vectors(data=GOOD + b"\0"),
    "no bytes": vectors(data=b""),
    "another encoding": vectors(encoding=pb.ENCODING_INT8),
    "an encoding that is none": vectors(encoding=77),
    "NaN": vectors(data=NAN),
    "infinity": vectors(data=INFINITE),
    "nothing": pb.Vectors(),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_vectors_that_are_none(liar: Liar, client: qwire.Client, lie: pb.Vectors):
    liar.replies = [pb.EmbedResponse(vectors=lie, usage=USAGE).SerializeToString()]
    with pytest.raises(qwire.ServerError):
        client.embed(TEXTS)
    reply = pb.EmbedStreamResponse(ids=[0, 1, 2], vectors=lie, usage=USAGE)
    liar.replies = [reply.SerializeToString()]
    with pytest.raises(qwire.ServerError):
        list(client.embed_stream(TEXTS))


@pytest.mark.parametrize("encoding", ["int8", "float16"])
def test_scales_and_halves_that_are_not_finite(liar: Liar, client: qwire.Client, encoding: str):
    wide = np.array([np.nan, 1, 1], "<f4").tobytes()
    lie = vectors(data=b"\1" * 6, encoding=pb.ENCODING_INT8, scales=wide)
    if encoding == "float16":
        lie = vectors(data=np.full((3, 2), np.inf, "<f2").tobytes(), encoding=pb.ENCODING_FLOAT16)
    liar.replies = [pb.EmbedResponse(vectors=lie, usage=USAGE).SerializeToString()]
    with pytest.raises(qwire.ServerError):
        client.embed(TEXTS, encoding=encoding)


@pytest.mark.parametrize("scores", [[float("nan")] * 3, [1, 2], [1, 2, 3, 4], [1, float("inf"), 2]])
def test_scores_that_are_none(liar: Liar, client: qwire.Client, scores: list[float]):
    results = [rank_pb.RankedDocument(index=i, score=score) for i, score in enumerate(scores)]
    usage = pb.TextUsage(tokens=[1] * 3, cut=[0] * 3)
    liar.replies = [rank_pb.RerankResponse(results=results, usage=usage).SerializeToString()]
    with pytest.raises(qwire.ServerError):
        client.rerank("q", TEXTS)


@pytest.mark.parametrize(
    "ids",
    [[0, 0, 1], [0, 1, 3], [2**64 - 1, 1, 2], [0, 1]],
    ids=["twice", "unknown", "huge", "too few"],
)
def test_ids_of_a_stream_that_were_not_sent(liar: Liar, client: qwire.Client, ids: list[int]):
    reply = pb.EmbedStreamResponse(ids=ids, vectors=vectors(), usage=USAGE)
    liar.replies = [reply.SerializeToString()]
    with pytest.raises(qwire.ServerError):
        list(client.embed_stream(TEXTS))


def test_an_answer_that_comes_twice(liar: Liar, client: qwire.Client):
    one = pb.Vectors(data=GOOD[:8], rows=1, dim=2, encoding=pb.ENCODING_FLOAT32)
    usage = pb.TextUsage(tokens=[1], cut=[0], unknown=[0])
    reply = pb.EmbedStreamResponse(ids=[0], vectors=one, usage=usage).SerializeToString()
    error = pb.EmbedStreamResponse(errors=[pb.TextError(id=0, code=1)]).SerializeToString()
    for replies in ([reply, reply], [error, reply], [reply, error]):
        liar.replies = replies
        with pytest.raises(qwire.ServerError):
            list(client.embed_stream(TEXTS))


def test_a_reply_that_is_no_message(liar: Liar, client: qwire.Client):
    liar.replies = [b"\xff\xff\xff\xff"]
    for call in (
        lambda: client.embed(TEXTS),
        lambda: client.count_tokens(TEXTS),
        lambda: client.rerank("q", TEXTS),
        client.stats,
        lambda: list(client.embed_stream(TEXTS)),
    ):
        with pytest.raises(qwire.ServerError):
            call()


def test_a_reply_that_is_too_large(liar: Liar, client: qwire.Client):
    """64 MiB is the most that a client takes."""
    lie = vectors(data=b"\0" * (64 * 1024 * 1024 + 1))
    liar.replies = [pb.EmbedResponse(vectors=lie, usage=USAGE).SerializeToString()]
    with pytest.raises(qwire.RequestTooLargeError):
        client.embed(TEXTS)
    liar.replies = [pb.EmbedStreamResponse(vectors=lie).SerializeToString()]
    with pytest.raises(qwire.QwireError):
        list(client.embed_stream(TEXTS))


TRAILERS = st.lists(
    st.one_of(
        st.tuples(st.just("grpc-retry-pushback-ms"), st.sampled_from(["-1", "x", "9" * 5000, "1"])),
        st.tuples(st.just("grpc-status-details-bin"), st.binary(max_size=40)),
        st.tuples(st.just("qwire-error-code"), st.sampled_from(["", "x", *pb.ErrorCode.keys()])),
    ),
    max_size=3,
)
STATUSES = st.sampled_from(list(grpc.StatusCode))


@settings(max_examples=60, **FEW)
@given(trailers=TRAILERS, status=STATUSES)
def test_any_end_of_a_call_is_one_of_our_errors(client, liar: Liar, trailers, status):
    check_end(client, liar, trailers, status)


def check_end(client, liar: Liar, trailers, status) -> None:
    liar.replies, liar.trailers, liar.status = [], tuple(trailers), status
    try:
        for call in (lambda: client.embed(TEXTS), lambda: list(client.embed_stream(TEXTS))):
            with pytest.raises(qwire.QwireError):
                call()
    finally:
        liar.trailers, liar.status = (), grpc.StatusCode.OK


VECTORS = st.sampled_from([vectors(), *LIES.values()])
IDS = st.integers(0, 3)
EMBEDDED = messages(pb.EmbedResponse.DESCRIPTOR, {"vectors": VECTORS, "usage": st.just(USAGE)})
STREAMED = st.lists(
    messages(
        pb.EmbedStreamResponse.DESCRIPTOR,
        {"vectors": VECTORS, "usage": st.just(USAGE), "ids": IDS, "id": IDS},
    ),
    max_size=4,
)
RANKED = messages(rank_pb.RerankResponse.DESCRIPTOR, {"index": st.integers(0, 2)})


@settings(max_examples=50, **FEW)
@given(reply=EMBEDDED)
def test_any_reply_to_embed(client, liar: Liar, reply):
    check_reply(client, liar, reply)


def check_reply(client, liar: Liar, reply) -> None:
    liar.replies = [reply.SerializeToString()]
    with suppress(qwire.QwireError):
        assert is_sound(client.embed(TEXTS), 3)


@settings(max_examples=50, **FEW)
@given(replies=STREAMED, reads=st.booleans())
def test_any_replies_to_a_stream(client, liar: Liar, replies, reads):
    check_replies(client, liar, replies, reads=reads)


def check_replies(client, liar: Liar, replies, *, reads: bool) -> None:
    liar.replies, liar.reads = [reply.SerializeToString() for reply in replies], reads
    try:
        items = list(client.embed_stream(enumerate(TEXTS), ordered=False))
    except qwire.QwireError:
        return
    finally:
        liar.reads = True
    assert sorted(item.id for item in items) == [0, 1, 2]
    for item in items:
        assert (item.embedding is None) == isinstance(item.error, qwire.QwireError)
        assert item.embedding is None or np.isfinite(item.embedding).all()


@settings(max_examples=30, **FEW)
@given(reply=RANKED)
def test_any_reply_to_rerank(client, liar: Liar, reply):
    liar.replies = [reply.SerializeToString()]
    with suppress(qwire.QwireError):
        assert np.isfinite(client.rerank("q", TEXTS).scores).all()


@settings(max_examples=40, **FEW)
@given(reply=messages(pb.DescribeResponse.DESCRIPTOR), stats=messages(pb.StatsResponse.DESCRIPTOR))
def test_any_description_and_figures(client, liar: Liar, reply, stats):
    """Its limits decide how lists are cut; whatever they say, a list is cut and sent."""
    liar.describes = reply.SerializeToString()
    try:
        liar.replies = [b""]
        with pytest.raises(qwire.QwireError):
            client.embed(["text"] * 200)
        liar.replies = [stats.SerializeToString()]
        with suppress(qwire.QwireError):
            assert client.stats() is not None
    finally:
        liar.describes = DESCRIPTION


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=3000, **{**FEW, "derandomize": False})
@given(data=st.data())
def test_far_more_of_the_same(client, liar: Liar, data):
    check_reply(client, liar, data.draw(EMBEDDED))
    check_replies(client, liar, data.draw(STREAMED), reads=data.draw(st.booleans()))
    check_end(client, liar, data.draw(TRAILERS), data.draw(STATUSES))
