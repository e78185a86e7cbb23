"""embed_stream of both clients against real server processes that are killed, cut and frozen.

Each stream is counted: every position exactly once, and the right vector for each.
"""

from __future__ import annotations

import numpy as np
import pytest

import qwire
from qwire import aio_streaming, streaming
from qwire.stream import Flow
from qwire.stream_codec import EmbedCodec
from qwire.v1 import embedding_pb2 as pb
from support.fake_process import Process
from support.fake_server import unit_vector
from support.proxy import Proxy

pytestmark = pytest.mark.timeout(240)  # each starts up to twenty processes, on a busy machine
TEXTS = [f"text {number}" for number in range(500)]
EVERY = 100  # items between two blows


@pytest.fixture
def process():
    with Process() as running:
        yield running


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.slow)])
def ordered(request):
    return request.param


def count(items, texts, *, ordered, broken=()):
    """Insist that each position came once, with its own vector; ids are positions."""
    ids = [item.id for item in items]
    assert (ids if ordered else sorted(ids)) == list(range(len(texts)))
    failed = [item.id for item in items if item.error is not None]
    assert failed == list(broken), [item.error for item in items if item.error is not None]
    for item in items:
        if item.error is None:
            expected = unit_vector(texts[item.id], 16)
            np.testing.assert_allclose(item.embedding, expected, rtol=1e-6)


def stream(client, texts, blows=(), *, ordered, every=EVERY, **settings):
    """All items; after each `every` of them comes a blow."""
    blows, items = list(blows), []
    settings = {"chunk_size": 8, "window": 64, **settings}
    for item in client.embed_stream(enumerate(texts), ordered=ordered, **settings):
        items.append(item)
        if blows and len(items) % every == 0:
            blows.pop(0)()
    assert not blows
    return items


def impatient(client, connect, texts, *, ordered, silence_seconds=0.5):
    """The same, of a client that takes half a second for silence."""
    flow = Flow(
        EmbedCodec(pb.EmbedOptions(encoding=pb.ENCODING_FLOAT32)),
        client._state.config.address,
        ordered=ordered,
        chunk_size=8,
        window=64,
        silence_seconds=silence_seconds,
    )
    if connect.kind == "sync":
        return streaming.drive(client._state, client._link, flow, enumerate(texts))
    inner = client.client
    items = aio_streaming.drive(inner._state, inner._link, flow, enumerate(texts))
    return client.iterate(items)


@pytest.mark.parametrize("ordered", [True, False])  # here both are quick
def test_a_stream_outlives_a_server_that_is_killed(process, connect, ordered):
    items = stream(connect(process.target), TEXTS, [process.kill_and_start] * 3, ordered=ordered)
    count(items, TEXTS, ordered=ordered)
    assert process.starts == 4


def test_a_stream_outlives_a_server_that_drains(process, connect, ordered):
    process.keep_alive()  # started again when it has drained; meanwhile the stream goes on
    texts = [f"text {number}" for number in range(600)]
    items = stream(connect(process.target), texts, [process.drain], ordered=ordered)
    count(items, texts, ordered=ordered)
    assert process.starts == 2
    assert process.statuses == [0]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_stream_outlives_connections_that_are_reset(process, connect, ordered):
    with Proxy(process.port) as proxy:
        blows = [proxy.reset] * 9
        items = stream(connect(proxy.target), TEXTS, blows, ordered=ordered, every=50)
        count(items, TEXTS, ordered=ordered)
        assert proxy.connections >= 10


def test_a_stream_outlives_a_connection_that_swallows_all(process, connect, ordered):
    for silence in (0.5, 2, 8):  # a machine that stands still is silent too
        with Proxy(process.port) as proxy:
            client, items = connect(proxy.target), []
            for item in impatient(client, connect, TEXTS, ordered=ordered, silence_seconds=silence):
                items.append(item)
                if len(items) in {100, 300}:
                    proxy.swallow()
            count(items, TEXTS, ordered=ordered)
        if proxy.connections == 3:
            break
    assert proxy.connections == 3


def test_a_stream_outlives_a_server_that_is_frozen(process, connect, ordered):
    items = []
    for item in impatient(connect(process.target), connect, TEXTS, ordered=ordered):
        items.append(item)
        if len(items) == 100:
            process.freeze()
            waker = process.thaw_after(0.8)
    waker.join()
    count(items, TEXTS, ordered=ordered)


def test_a_stream_that_ends_ok_with_texts_unanswered_goes_on(process, connect, ordered):
    texts = list(TEXTS)
    texts[300] = "leave"
    items = stream(connect(process.target), texts, ordered=ordered)
    count(items, texts, ordered=ordered)


def test_another_model_after_a_restart_is_an_error_and_its_vectors_are_not_mixed_in(
    process, connect, ordered
):
    def change():
        process.fingerprint = "fake-2"
        process.kill_and_start()

    with pytest.raises(qwire.FingerprintMismatchError, match="fake-2"):
        stream(connect(process.target), TEXTS, [change], ordered=ordered)


def test_a_text_that_kills_the_server_is_an_error_of_its_own(process, connect, ordered):
    process.keep_alive()
    texts = list(TEXTS[:200])
    texts[150] = "poison"
    items = stream(connect(process.target), texts, ordered=ordered)
    count(items, texts, ordered=ordered, broken=[150])
    (error,) = [item.error for item in items if item.error]
    assert type(error) is qwire.ModelFailedError
    assert "4 deaths" in str(error)
    assert process.starts >= 4


def test_leaving_the_loop_while_no_server_is_there_is_quick(process, connect):
    items = connect(process.target).embed_stream(TEXTS, window=64)
    next(items)
    process.kill()
    items.close()
    process.start()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_stream_outlives_many_blows_of_all_kinds(process, connect, ordered):
    texts = [f"text {number}" for number in range(20_000)]
    with Proxy(process.port) as proxy:
        blows = [process.kill_and_start, proxy.reset, process.kill_and_start] * 6
        items = stream(connect(proxy.target), texts, blows, ordered=ordered, every=1000)
        count(items, texts, ordered=ordered)
