"""embed_stream of both clients."""

from __future__ import annotations

import asyncio
import itertools
import threading

import grpc
import numpy as np
import pytest

import qwire
from qwire import aio_streaming, streaming
from qwire.stream import Flow
from qwire.stream_codec import EmbedCodec
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import UNAVAILABLE, FakeServer, Refusal, unit_vector, wait_until
from support.machine_speed import hang_limit

TEXTS = [f"text {number}" for number in range(500)]


def texts_of(items):
    """Check each vector against the text it stands for, given as the id."""
    items = list(items)
    for item in items:
        np.testing.assert_allclose(item.embedding, unit_vector(item.id, 16), rtol=1e-6)
    return [item.id for item in items]


def until_lost(stream):
    """What came, and the StreamLostError after it."""
    items = []
    try:
        for item in stream:
            items.append(item)  # noqa: PERF402  # kept although the loop raises
    except qwire.StreamLostError as error:
        return items, error
    raise AssertionError("the stream was not lost")


async def answer_backwards(server, requests):
    """Everything read, then answered last first, one text a reply."""
    chunks = [chunk async for chunk in requests]
    pairs = [pair for chunk in chunks for pair in zip(chunk.ids, chunk.texts, strict=True)]
    for number, text in reversed(pairs):
        yield server.answer([number], [text])


def test_texts_come_back_in_order_with_their_positions(client):
    items = list(client.embed_stream(TEXTS))
    assert [item.id for item in items] == list(range(500))
    for item, text in zip(items, TEXTS, strict=True):
        np.testing.assert_allclose(item.embedding, unit_vector(text, 16), rtol=1e-6)


def test_an_item_has_counts_and_a_vector_of_its_own(client):
    (item,) = client.embed_stream([("key", "xxz")])
    assert (item.id, item.tokens, item.truncated, item.unknown) == ("key", 3, 2, 1)
    assert (item.embedding.shape, item.embedding.dtype) == ((16,), np.float32)
    assert item.error is None
    item.embedding[0] = 7


def test_texts_keep_their_order_when_answers_do_not(server, client):
    server.stream = lambda requests, context: answer_backwards(server, requests)
    assert [item.id for item in client.embed_stream(TEXTS)] == list(range(500))


def test_pairs_come_as_they_are_ready(server, client):
    server.stream = lambda requests, context: answer_backwards(server, requests)
    pairs = [(text, text) for text in TEXTS]
    assert texts_of(client.embed_stream(pairs)) == TEXTS[::-1]


def test_order_can_be_chosen(server, client):
    server.stream = lambda requests, context: answer_backwards(server, requests)
    pairs = [(text, text) for text in TEXTS]
    assert texts_of(client.embed_stream(pairs, ordered=True)) == TEXTS
    ids = [item.id for item in client.embed_stream(TEXTS, ordered=False)]
    assert ids == list(range(500))[::-1]


def test_the_callers_ids_may_repeat(client):
    items = list(client.embed_stream([("same", "a"), ("same", "b"), (None, "c")]))
    assert [item.id for item in items] == ["same", "same", None]


def test_an_empty_stream_opens_nothing(server, client):
    assert list(client.embed_stream([])) == []
    assert not server.seen


def test_options_go_with_the_first_chunk_only(server, client):
    chunks = []

    async def stream(requests, context):
        async for chunk in requests:
            chunks.append(chunk)
            yield server.answer(chunk.ids, chunk.texts, chunks[0].options)

    server.stream = stream
    items = list(client.embed_stream(TEXTS, dimensions=4, input_type="query", encoding="int8"))
    assert {item.embedding.shape for item in items} == {(4,)}
    assert chunks[0].options.input_type == pb.INPUT_TYPE_QUERY
    assert not any(chunk.HasField("options") for chunk in chunks[1:])


def test_chunks_are_no_larger_than_asked(server, client):
    sizes = []

    async def stream(requests, context):
        async for chunk in requests:
            sizes.append((len(chunk.texts), sum(map(len, chunk.texts))))
            yield server.answer(chunk.ids, chunk.texts)

    server.stream = stream
    list(client.embed_stream(TEXTS, chunk_size=10))
    assert max(texts for texts, _ in sizes) == 10
    list(client.embed_stream(["y" * 100_000] * 20))
    assert max(size for _, size in sizes) == 200_000


def test_wrong_words_are_refused_at_the_call(client):
    with pytest.raises(qwire.InvalidRequestError):
        client.embed_stream(["a"], input_type="passage")
    with pytest.raises(qwire.InvalidRequestError):
        client.embed_stream(["a"], window=0)
    with pytest.raises(qwire.InvalidRequestError):
        client.embed_stream(["a"], chunk_size=0)


@pytest.mark.parametrize("bad", [7, None, "lone \ud800", ("key", 7), b"bytes"])
def test_a_bad_item_is_an_error_of_that_item(client, bad):
    items = list(client.embed_stream(["a", bad, "b"], ordered=True))
    assert [item.error is None for item in items] == [True, False, True]
    assert isinstance(items[1].error, qwire.InvalidTextError)
    assert items[1].embedding is None
    assert items[1].id == ("key" if isinstance(bad, tuple) else 1)


def test_nothing_but_bad_items_opens_nothing(server, client):
    assert [item.id for item in client.embed_stream([1, 2])] == [0, 1]
    assert not server.seen


def test_a_text_that_the_server_refuses_is_an_error_of_that_item(server, client):
    server.refused_texts["text 100"] = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG", "text 3 has 9 tokens"
    )
    items = list(client.embed_stream(TEXTS))
    assert [item.id for item in items if item.error] == [100]
    assert isinstance(items[100].error, qwire.TextTooLongError)
    assert "text 100 has 9 tokens" in str(items[100].error)


def test_no_more_than_a_window_is_taken_and_not_handed_out(server, client):
    taken = handed_out = most = 0

    def texts():
        nonlocal taken, most
        for text in TEXTS:
            taken += 1
            most = max(most, taken - handed_out)
            yield text

    for _ in client.embed_stream(texts(), window=40, chunk_size=16):
        handed_out += 1
    # While an item is on its way to us, it is handed out and we have not counted it yet.
    assert 40 <= most <= 41
    assert handed_out == 500


def test_the_server_never_sees_more_than_a_window(server, client):
    """With `ordered`, one held text must not let the others run away."""
    sent = threading.Event()
    seen = 0

    async def stream(requests, context):
        nonlocal seen
        first = None
        async for chunk in requests:
            pairs = list(zip(chunk.ids, chunk.texts, strict=True))
            seen += len(pairs)
            if first is None:
                first = pairs.pop(0)
            if pairs:
                yield server.answer(*zip(*pairs, strict=True))
            if seen == 32:
                sent.set()
                yield server.answer([first[0]], [first[1]])

    server.stream = stream
    assert len(list(client.embed_stream(TEXTS, window=32, chunk_size=8))) == 500
    assert sent.is_set()


def test_an_infinite_iterable_is_left_with_break(server, client):
    threads = set(threading.enumerate())
    source = (f"text {number}" for number in itertools.count())
    items = client.embed_stream(source)
    for item in items:
        if item.id == 300:
            break
    items.close()
    assert server.stream_over.wait(hang_limit(5))
    wait_until(lambda: not [t for t in set(threading.enumerate()) - threads if "qwire" in t.name])


def test_items_are_pulled_only_as_they_are_needed(client):
    source = iter(range(10**9))
    items = client.embed_stream((str(number) for number in source), window=50)
    next(items)
    assert next(source) <= 51
    items.close()


def test_an_answer_does_not_wait_for_the_next_chunk_to_fill(server, client):
    """A producer that gives its next text after some answers still gets them."""
    answered = []

    def texts():
        yield "a"
        yield "b"

    answered.extend(item.id for item in client.embed_stream(texts()))
    assert answered == [0, 1]


def test_the_iterables_own_exception_comes_out_as_it_is(server, client):
    class OwnError(Exception):
        pass

    error = OwnError("mine")

    def texts():
        yield from TEXTS[:100]
        raise error

    with pytest.raises(OwnError) as caught:
        list(client.embed_stream(texts(), window=64))  # some answers come before it
    assert caught.value is error
    assert server.stream_over.wait(hang_limit(5))


def test_closing_before_the_first_item_opens_nothing(server, client):
    client.embed_stream(TEXTS).close()
    assert not server.seen


@pytest.mark.parametrize("notice", [pb.NOTICE_DRAINING, pb.NOTICE_RECONNECT])
def test_after_a_notice_the_stream_goes_on_in_another_call(server, client, notice):
    async def stream(requests, context):
        count = 0
        async for chunk in requests:
            reply = server.answer(chunk.ids, chunk.texts)
            count += len(chunk.ids)
            if count >= 150:
                reply.notice = notice
            yield reply

    server.stream = stream
    pairs = ((text, text) for text in TEXTS)
    assert texts_of(client.embed_stream(pairs, window=64, ordered=True)) == TEXTS
    assert server.count("EmbedStream") >= 2


def test_a_notice_after_the_last_text_is_no_error(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            yield server.answer(chunk.ids, chunk.texts)
        yield pb.EmbedStreamResponse(notice=pb.NOTICE_DRAINING)

    server.stream = stream
    assert len(list(client.embed_stream(TEXTS))) == 500


def test_a_notice_with_the_last_answer_is_no_error(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            reply = server.answer(chunk.ids, chunk.texts)
            reply.notice = pb.NOTICE_DRAINING
            yield reply

    server.stream = stream
    assert len(list(client.embed_stream(["only"]))) == 1


def test_alive_is_only_a_sign_of_life(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            yield pb.EmbedStreamResponse(notice=pb.NOTICE_ALIVE)
            yield server.answer(chunk.ids, chunk.texts)

    server.stream = stream
    assert len(list(client.embed_stream(TEXTS))) == 500


def answer_some_then(server, end):
    """Answer 100 texts one by one, then end the stream with `end`."""

    async def stream(requests, context):
        count = 0
        async for chunk in requests:
            for number, text in zip(chunk.ids, chunk.texts, strict=True):
                yield server.answer([number], [text])
                count += 1
                if count == 100:
                    await end(context)
                    return

    return stream


async def _ok(context):
    pass


async def _unavailable(context):
    await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


async def _internal(context):
    await context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")


@pytest.mark.parametrize("end", [_ok, _unavailable, _internal])
def test_a_stream_that_ends_early_goes_on_in_another_call(server, client, end):
    server.stream = answer_some_then(server, end)
    pairs = [(text, text) for text in TEXTS]
    assert texts_of(client.embed_stream(pairs, ordered=True)) == TEXTS
    assert server.count("EmbedStream") >= 5
    assert len({seen.metadata["x-request-id"] for seen in server.seen}) == 1


@pytest.mark.parametrize("end", [_ok, _unavailable, _internal])
def test_a_stream_that_may_not_try_again_says_how_far_it_came(server, connect, end):
    server.stream = answer_some_then(server, end)
    client = connect(server.target, max_attempts=1)
    items, error = until_lost(client.embed_stream(TEXTS))
    assert error.answered == len(items) <= 100
    assert error.answered + error.unanswered <= 500
    assert f"{error.answered} texts were answered" in str(error)
    assert isinstance(error, ConnectionError)
    assert (error.__cause__ is None) == (end is _ok)
    assert error.request_id == server.seen[0].metadata["x-request-id"]


def test_a_text_that_a_dying_server_could_not_do_is_sent_again(server, client):
    async def stream(requests, context):
        first = server.count("EmbedStream") == 1
        async for chunk in requests:
            reply = server.answer(chunk.ids, chunk.texts)
            if first:
                bad = chunk.ids[0]
                reply = server.answer(chunk.ids[1:], chunk.texts[1:])
                reply.errors.add(id=bad, code=pb.UNAVAILABLE, message="text 0: stopping")
            yield reply

    server.stream = stream
    pairs = [(text, text) for text in TEXTS]
    assert texts_of(client.embed_stream(pairs, ordered=True)) == TEXTS
    assert server.count("EmbedStream") == 2


def test_a_server_that_loads_is_asked_again(server, client):
    server.refusals["EmbedStream"].append(UNAVAILABLE)
    server.refusals["Embed"].append(UNAVAILABLE)  # the async client may ask again
    assert len(list(client.embed_stream(TEXTS))) == 500


def test_the_servers_own_error_ends_a_stream_with_its_type(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            yield server.answer(chunk.ids[:-1], chunk.texts[:-1])
        await server.refuse(context, Refusal(grpc.StatusCode.INTERNAL, "MODEL_FAILED", "it broke"))

    server.stream = stream
    with pytest.raises(qwire.ModelFailedError, match="it broke"):
        list(client.embed_stream(TEXTS))


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(grpc.StatusCode.UNAUTHENTICATED), qwire.UnauthenticatedError),
        (Refusal(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"), qwire.ModelNotFoundError),
        (Refusal(grpc.StatusCode.UNIMPLEMENTED), qwire.ServerError),
    ],
)
def test_a_stream_that_is_refused_has_the_type_of_its_reason(server, client, refusal, error):
    server.refusals["EmbedStream"].append(refusal)
    server.refusals["Embed"].append(refusal)  # the async client has to ask again
    with pytest.raises(error) as caught:
        list(client.embed_stream(TEXTS))
    assert type(caught.value) is error


def test_a_server_that_never_ends_loading_is_an_error_with_its_words(server, connect):
    for method in ("EmbedStream", "Embed"):
        server.refusals[method].extend([UNAVAILABLE] * 1000)
    client = connect(server.target, reconnect_seconds=0.5)
    with pytest.raises(qwire.ConnectionFailedError, match="the model is loading") as caught:
        list(client.embed_stream(TEXTS))
    assert type(caught.value) is qwire.ConnectionFailedError


def test_a_server_that_dies_and_stays_dead_is_a_lost_stream(connect):
    with FakeServer() as server:
        client = connect(server.target, reconnect_seconds=0.5)
        items = client.embed_stream(map(str, itertools.count()), window=64)
        next(items)
    with pytest.raises(qwire.StreamLostError, match="nothing answers") as caught:
        list(items)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def drive(client, connect, flow, items):
    """What `embed_stream` does, with a flow of the test's own."""
    if connect.kind == "sync":
        return streaming.drive(client._state, client._link, flow, items)
    inner = client.client
    return client.iterate(aio_streaming.drive(inner._state, inner._link, flow, items))


def impatient(client, **settings):
    settings = {"ordered": True, "chunk_size": 1, "window": 4, "silence_seconds": 0.2, **settings}
    options = pb.EmbedOptions(encoding=pb.ENCODING_FLOAT32)
    return Flow(EmbedCodec(options), client._state.config.address, **settings)


async def silent_after_one(server, requests, *, calls):
    """One chunk is answered, the rest is read and nothing said; so it is in the first `calls`."""
    silent = server.count("EmbedStream") <= calls
    async for chunk in requests:
        yield server.answer(chunk.ids, chunk.texts)
        if silent:
            break
    async for _ in requests:
        pass


def test_a_server_that_falls_silent_is_called_again(server, client, connect):
    server.stream = lambda requests, context: silent_after_one(server, requests, calls=2)
    for silence_seconds in (0.2, 1, 5):  # a machine that stands still is silent too
        server.seen.clear()
        flow = impatient(client, silence_seconds=silence_seconds)
        items = list(drive(client, connect, flow, TEXTS[:20]))
        assert [item.id for item in items] == list(range(20))
        assert [item.error for item in items] == [None] * 20
        if server.count("EmbedStream") == 3:
            break
    assert server.count("EmbedStream") == 3
    assert server.stream_over.wait(hang_limit(5))


def test_a_server_that_stays_silent_is_a_lost_stream(server, client, connect):
    async def stream(requests, context):
        if server.count("EmbedStream") == 1:
            async for reply in silent_after_one(server, requests, calls=1):
                yield reply
        async for _ in requests:
            pass

    server.stream = stream
    flow = impatient(client, reconnect_seconds=0.3)
    items, error = until_lost(drive(client, connect, flow, TEXTS))
    assert "for 0.2 s" in str(error)
    assert (error.answered, error.unanswered) == (len(items), 4)


def test_a_dead_port_is_a_lost_stream_with_advice(connect):
    with pytest.raises(qwire.StreamLostError, match="nothing answers at localhost:1"):
        list(connect("localhost:1").embed_stream(["a"]))


@pytest.mark.parametrize("where", ["expected", "changed"])
def test_another_fingerprint_is_an_error(server, client, where):
    replies = []

    async def stream(requests, context):
        async for chunk in requests:
            replies.append(server.answer(chunk.ids, chunk.texts))
            if where == "expected" or len(replies) > 1:
                replies[-1].fingerprint = "fake-2"
            yield replies[-1]

    server.stream = stream
    expected = "fake-1" if where == "expected" else None
    with pytest.raises(qwire.FingerprintMismatchError, match="fake-2"):
        list(client.embed_stream(TEXTS, expected_fingerprint=expected))


def test_an_answer_to_what_was_not_asked_is_an_error(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            yield server.answer([999_999], chunk.texts[:1])

    server.stream = stream
    with pytest.raises(qwire.ServerError, match="not in flight"):
        list(client.embed_stream(TEXTS))


def test_fewer_bytes_than_rows_are_an_error(server, client):
    async def stream(requests, context):
        async for chunk in requests:
            reply = server.answer(chunk.ids, chunk.texts)
            reply.vectors.data = reply.vectors.data[4:]
            yield reply

    server.stream = stream
    with pytest.raises(qwire.ServerError, match="contradicts"):
        list(client.embed_stream(TEXTS))


def test_closing_the_client_ends_its_streams(server, client):
    items = client.embed_stream(map(str, itertools.count()), window=64)
    next(items)
    client.close()
    with pytest.raises(qwire.ClosedError):
        list(items)
    assert server.stream_over.wait(hang_limit(5))


def test_streams_show_in_the_repr(client):
    items = client.embed_stream(map(str, itertools.count()), window=64)
    next(items)
    assert "in_flight=1" in repr(client)
    items.close()
    assert "in_flight=0" in repr(client)


async def test_an_async_iterable_is_read_while_the_loop_runs_on(server):
    async def texts():
        for text in TEXTS:
            await asyncio.sleep(0)
            yield text

    async with qwire.AsyncClient(server.target) as client:
        ids = [item.id async for item in client.embed_stream(texts())]
    assert ids == list(range(500))


async def test_answers_come_while_an_async_producer_waits_for_them(server):
    """A conversation: the next text depends on the last answer."""
    answered = asyncio.Queue()

    async def texts():
        for number in range(3):
            yield f"question {number}"
            await answered.get()

    async with qwire.AsyncClient(server.target) as client:
        ids = []
        async for item in client.embed_stream(texts()):
            ids.append(item.id)
            answered.put_nowait(item)
    assert ids == [0, 1, 2]


async def test_an_async_iterables_own_exception_comes_out_as_it_is(server):
    async def texts():
        yield "a"
        raise KeyError("mine")

    async with qwire.AsyncClient(server.target) as client:
        with pytest.raises(KeyError, match="mine"):
            async for _ in client.embed_stream(texts()):
                pass


async def test_a_cancelled_task_cancels_its_stream(server):
    async def texts():
        yield "a"
        await asyncio.Event().wait()

    started = asyncio.Event()

    async def consume(client):
        async for _ in client.embed_stream(texts()):
            started.set()

    async with qwire.AsyncClient(server.target) as client:
        task = asyncio.create_task(consume(client))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().run_in_executor(
            None, server.stream_over.wait, hang_limit(5)
        )
    assert server.stream_over.is_set()
    assert len(asyncio.all_tasks()) == 1
