"""One target, several servers: who is asked, who is not, and what callers see when some go."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import trustme

import qwire
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import FakeServer, unit_vectors, wait_until
from support.fleet import Fleet
from support.machine_speed import hang_limit
from support.name_server import NameServer

OWN_NETWORK = ["unshare", "-Urn"]
OWN_NETWORKS = (
    shutil.which("unshare")
    and shutil.which("ip")
    and not subprocess.run(
        [*OWN_NETWORK, *["ip", "link", "add", "a", "type", "veth", "peer", "name", "b"]],
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode
)
TEXTS = [f"text {number}" for number in range(30)]


@pytest.fixture
def servers():
    """Three, in this process, each on a port of its own."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(3)]


@pytest.fixture
def fleet():
    """Three, in processes of their own."""
    with Fleet(3) as running:
        yield running


def listed(servers):
    return ",".join(f"127.0.0.1:{one.port}" for one in servers)


def meet(client, servers):
    """Call until each has been asked; then forget it."""

    def asked_each():
        client.embed(["hello"])
        return all(one.seen for one in servers)

    wait_until(asked_each, 15)
    forget(servers)


def forget(servers):
    for one in servers:
        one.seen.clear()


def one_a_call(client, texts, **settings):
    """Many requests, several at once; each with its right answer."""
    result = client.embed(texts, batch_size=1, **settings)
    np.testing.assert_allclose(result.vectors, unit_vectors(texts, 16), rtol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        "127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
        "grpc://localhost:{}, localhost:{}, localhost:{}",
        "ipv4:127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
    ],
)
def test_calls_are_spread_evenly_over_a_list(servers, connect, form):
    client = connect(form.format(*(one.port for one in servers)))
    meet(client, servers)
    one_a_call(client, TEXTS)
    assert [one.count("Embed") for one in servers] == [10, 10, 10]


def test_calls_are_spread_over_all_that_a_name_stands_for(connect):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeServer(host="127.0.0.2"))
        second = stack.enter_context(FakeServer(host="127.0.0.3", port=first.port))
        names = stack.enter_context(NameServer("127.0.0.2", "127.0.0.3"))
        client = connect(names.target("qwire.test", first.port))
        meet(client, [first, second])
        one_a_call(client, TEXTS)
        assert [first.count("Embed"), second.count("Embed")] == [15, 15]


def test_a_name_with_a_port_alone_stays_one_server(server, connect):
    assert connect(server.target).embed(["a"]).shape == (1, 16)
    assert server.watched == 0


def test_a_server_that_does_not_serve_is_not_asked_until_it_does(servers, connect):
    client = connect(listed(servers))
    meet(client, servers)
    servers[0].serving = False

    def left_alone():
        forget(servers)
        one_a_call(client, TEXTS[:9])
        return not servers[0].seen

    wait_until(left_alone, 15)
    one_a_call(client, TEXTS)
    assert not servers[0].seen
    servers[0].serving = True
    meet(client, servers)


def test_who_comes_while_all_load_their_model_is_served_when_one_has(servers, connect):
    for one in servers:
        one.serving = False
    client = connect(listed(servers))
    timer = threading.Timer(1.5, setattr, (servers[1], "serving", True))
    timer.start()
    assert client.embed(["a"]).shape == (1, 16)
    timer.join()


def test_that_none_serves_is_said(servers, connect):
    for one in servers:
        one.serving = False
    client = connect(listed(servers), timeout=1)
    with pytest.raises(qwire.ConnectionFailedError, match=r"no server of .* serves now"):
        client.embed(["a"])
    assert not client.healthy()


def test_hosts_that_cannot_be_found_are_said(connect):
    client = connect("no-such-host.invalid:1,nor-this.invalid:2")
    with pytest.raises(qwire.ConnectionFailedError, match=r"no host of .* can be found") as caught:
        client.embed(["a"])
    assert "nor-this.invalid:2" in str(caught.value)


def test_a_host_that_cannot_be_found_leaves_the_others(server, connect):
    client = connect(f"no-such-host.invalid:1,127.0.0.1:{server.port}")
    assert client.embed(["a"]).shape == (1, 16)


def test_addresses_of_both_kinds_are_one_list(servers, connect):
    """Of the two names of a server, the one that it listens on answers."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    client = connect(f"[::1]:{servers[0].port},127.0.0.1:{servers[1].port}")
    assert client.embed(["a"]).shape == (1, 16)
    assert servers[1].count("Embed") == 1


# -- servers that go


def test_nobody_notices_two_servers_of_three_that_go(fleet, connect):
    """One is killed, one drains; both while a stream and unary calls are under way."""
    client, items = connect(fleet.target, max_concurrency=8), []
    texts = [f"text {number}" for number in range(400)]
    blows = {100: fleet.servers[0].kill, 250: fleet.servers[1].drain}
    for item in client.embed_stream(texts, chunk_size=8, window=64):
        items.append(item)
        if blow := blows.get(len(items)):
            hit = after(50, blow)
            one_a_call(client, texts[:150], progress=hit)
    assert [item.id for item in items] == list(range(400))
    assert not any(item.error for item in items)
    vectors = np.stack([item.embedding for item in items])
    np.testing.assert_allclose(vectors, unit_vectors(texts, 16), rtol=1e-6)


def after(count, blow):
    """A progress callback that strikes once so many calls were answered."""
    told = itertools.count(1)
    return lambda _done, _total: blow() if next(told) == count else None


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_server_that_is_frozen_holds_calls_up_and_loses_none(fleet, connect):
    """Its connection stays open and silent, as that of a machine without power."""
    client = connect(fleet.target)
    one_a_call(client, TEXTS)
    fleet.servers[0].freeze()
    items = client.embed_stream(f"text {number}" for number in range(400))
    assert sum(item.error is None for item in items) == 400
    one_a_call(client, [f"text {n}" for n in range(100)])


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(not OWN_NETWORKS, reason="this machine lets nobody make network namespaces")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_machines_that_vanish_from_the_network_hold_calls_up_and_lose_none(kind):
    command = [*OWN_NETWORK, sys.executable, "-m", "support.vanishing", kind]
    paths = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": paths}
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, env=env, timeout=hang_limit(180), check=True
    )
    assert json.loads(ran.stdout) == {"unary": 300, "streamed": 300}


def test_a_stream_told_to_reconnect_finds_new_servers(connect):
    """They came behind the same name after it had been looked up."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeServer(host="127.0.0.2"))
        second = stack.enter_context(FakeServer(host="127.0.0.3", port=first.port))
        names = stack.enter_context(NameServer("127.0.0.2"))
        first.stream = telling(first, pb.NOTICE_RECONNECT, after=10)
        client = connect(names.target("qwire.test", first.port))
        client.embed(["hello"])
        names.addresses = ("127.0.0.3",)
        items = list(client.embed_stream(TEXTS, chunk_size=2, window=4))
        assert [item.id for item in items] == list(range(30))
        assert [first.count("EmbedStream"), second.count("EmbedStream")] == [1, 1]
        client.embed(["hello"])
        assert second.count("Embed") == 1


def test_closing_a_client_ends_its_streams_on_connections_that_others_left(server, connect):
    client = connect(server.target)
    stays = client.embed_stream(map(str, itertools.count()), window=64)
    next(stays)
    server.stream = telling(server, pb.NOTICE_RECONNECT, after=3)
    assert len(list(client.embed_stream(TEXTS, chunk_size=2, window=4))) == 30
    client.close()
    with pytest.raises(qwire.ClosedError):
        list(stays)


def telling(server, notice, *, after):
    """Streams of a server that send a notice with an answer, once, and stay until the end."""

    async def stream(requests, _context):
        options, chunks = None, 0
        async for request in requests:
            options = request.options if request.HasField("options") else options
            reply, chunks = server.answer(request.ids, request.texts, options), chunks + 1
            if chunks == after:
                reply.notice = notice
            yield reply

    return stream


def test_streams_of_one_client_go_to_different_servers(servers, connect):
    client = connect(listed(servers))
    meet(client, servers)
    streams = [client.embed_stream(TEXTS, chunk_size=2, window=4) for _ in range(3)]
    for items in streams:
        next(items)
    assert [one.count("EmbedStream") for one in servers] == [1, 1, 1]
    for items in streams:
        items.close()


# -- servers that should not be there


def test_vectors_of_two_models_are_an_error_from_call_to_call(servers, connect):
    servers[2].fingerprint = "fake-2"
    client = connect(listed(servers))
    with pytest.raises(qwire.FingerprintMismatchError, match="several servers"):
        until_both_have_answered(lambda: client.embed_query("a"))


def test_scores_of_two_models_are_an_error_too(servers, connect):
    servers[2].fingerprint = "fake-2"
    client = connect(listed(servers))
    with pytest.raises(qwire.FingerprintMismatchError, match="several servers"):
        until_both_have_answered(lambda: client.rerank("q", ["a"]))


def test_a_stream_keeps_to_the_model_of_the_calls_before(servers, connect):
    client = connect(listed(servers))
    client.embed(["a"])
    for one in servers:
        one.fingerprint = "fake-2"
    with pytest.raises(qwire.FingerprintMismatchError, match="several servers"):
        list(client.embed_stream(["a"]))


def test_one_server_may_change_its_model_between_calls(server, connect):
    client = connect(server.target)
    client.embed(["a"])
    server.fingerprint = "fake-2"
    assert client.embed(["a"]).fingerprint == "fake-2"


def until_both_have_answered(call):
    for _ in range(1000):
        call()


# -- TLS


def test_a_list_with_tls_needs_the_name_of_all(connect):
    with pytest.raises(qwire.InvalidRequestError, match="server_name"):
        connect("grpcs://gpu1,gpu2")


def test_a_list_with_tls_and_one_name(connect):
    authority = trustme.CA()
    issued = authority.issue_cert("qwire.test")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    pair = (issued.private_key_pem.bytes(), chain)
    with FakeServer(tls=pair) as first, FakeServer(tls=pair) as second:
        client = connect(
            f"grpcs://{listed([first, second])}",
            ca_cert=authority.cert_pem.bytes(),
            server_name="qwire.test",
        )
        meet(client, [first, second])
        one_a_call(client, TEXTS)
        assert [first.count("Embed"), second.count("Embed")] == [15, 15]
