"""Clients that die, networks that break, servers that are killed: real processes, real sockets.

Each position of each stream is counted, and each vector compared with that of its text. More of the
kind is in tests/client/test_survival.py; see the table in server/FAULTS.md.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import qwire
from support import clock
from support.fake_process import Process
from support.fault_model import expected
from support.proxy import Proxy

pytestmark = pytest.mark.timeout(120)  # servers start, on machines that are busy

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
# Streams texts without end; says each hundredth.
ENDLESS = """
import sys, itertools, qwire
with qwire.Client(sys.argv[1]) as client:
    for item in client.embed_stream(f"text {i}" for i in itertools.count()):
        if item.id % 100 == 0:
            print(item.id, flush=True)
"""
# Streams and asks while its parent does something to it; each vector is compared.
STEADY = """
import sys, numpy as np, qwire
from support.fault_model import expected
with qwire.Client(sys.argv[1]) as client:
    texts = [f"text {i}" for i in range(3000)]
    right = expected(texts)
    for item in client.embed_stream(texts, chunk_size=8, window=64):
        assert item.error is None, item.error
        np.testing.assert_allclose(item.embedding, right[item.id], atol=1e-6)
        if item.id % 100 == 0:
            told = client.embed(texts[item.id : item.id + 3], timeout=60)
            np.testing.assert_allclose(told, right[item.id : item.id + 3], atol=1e-6)
            print(item.id, flush=True)
    assert item.id == 2999
"""


def right(items: list[qwire.StreamItem], texts: list[str]) -> None:
    """Each position once and in order, with its own vector."""
    assert [item.id for item in items] == list(range(len(texts)))
    assert [item.error for item in items if item.error] == []
    vectors = np.stack([item.embedding for item in items])
    np.testing.assert_allclose(vectors, expected(texts), atol=1e-6)


def stream(
    target: str, texts: list[str], blow: Callable[[], None], at: int = 100
) -> list[qwire.StreamItem]:
    items = []
    with qwire.Client(target) as client:
        client.embed(["a server was there once"])
        for item in client.embed_stream(texts, chunk_size=8, window=64):
            items.append(item)
            if len(items) == at:
                blow()
    return items


def test_a_client_that_is_killed_in_mid_stream_leaves_nothing_behind(server: Process, settled):
    command = [sys.executable, "-c", ENDLESS, server.target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as client:
        # A chunk more than is asserted: a reply may be read before its write has returned.
        while b"600" not in client.stdout.readline():
            pass
        client.kill()
    census = settled(server)
    assert census["answered"] >= 500
    assert census["failed"] == 0
    with qwire.Client(server.target) as another:
        np.testing.assert_allclose(another.embed(["a"]), expected(["a"]), atol=1e-6)


def test_calls_whose_connections_are_reset_are_asked_again(server: Process):
    with Proxy(server.port) as proxy, qwire.Client(proxy.target) as client:
        client.embed(["warm"])
        over = threading.Event()

        def blows() -> None:
            while not over.wait(0.05):
                proxy.reset()

        breaking = threading.Thread(target=blows)
        breaking.start()
        try:
            for number in range(30):
                texts = [f"call {number} text {i}" for i in range(50)]
                np.testing.assert_allclose(client.embed(texts), expected(texts), atol=1e-6)
        finally:
            over.set()
            breaking.join()
        assert proxy.connections > 1


def test_an_outage_of_the_network_delays_a_stream_and_its_connection_lives(server: Process):
    texts = [f"text {number}" for number in range(300)]
    with Proxy(server.port) as proxy:

        def outage() -> None:
            proxy.hold()
            threading.Timer(1, proxy.release).start()

        right(stream(proxy.target, texts, outage), texts)
        assert proxy.connections == 1


def test_a_slow_network_slows_a_stream_and_nothing_else(server: Process):
    texts = [f"text {number}" for number in range(300)]
    with Proxy(server.port) as proxy:
        right(stream(proxy.target, texts, lambda: proxy.throttle(20_000)), texts)


@pytest.mark.slow
def test_streams_and_calls_outlive_a_server_that_is_killed_twice(server: Process):
    texts = [f"text {number}" for number in range(400)]
    found: dict[int, list[qwire.StreamItem]] = {}

    def run(number: int) -> None:
        found[number] = stream(server.target, texts, lambda: None)

    def call() -> None:
        with qwire.Client(server.target) as client:
            while len(found) < 3:
                np.testing.assert_allclose(client.embed(texts[:9]), expected(texts[:9]), atol=1e-6)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    caller = threading.Thread(target=call)
    for thread in (*threads, caller):
        thread.start()
    time.sleep(0.3)
    server.kill_and_start()
    time.sleep(0.3)
    server.kill_and_start()
    for thread in (*threads, caller):
        thread.join()
    for number in range(3):
        right(found[number], texts)


@pytest.mark.slow
def test_a_proxy_whose_server_is_gone_for_seconds_makes_no_text_a_suspect():
    """It takes each connection and closes it, as a server would that dies of a text."""
    texts = [f"text {number}" for number in range(300)]
    with Process("-m", "support.fault_server", "{port}") as server, Proxy(server.port) as proxy:

        def gone() -> None:
            server.kill()
            threading.Timer(3, server.start).start()

        right(stream(proxy.target, texts, gone), texts)
        assert proxy.connections > 5, "it was not asked while the server was gone"


@pytest.mark.slow
@pytest.mark.parametrize("client_of", ["sync", "async"])
async def test_a_text_that_kills_the_server_each_time_is_an_error_of_its_own(client_of: str):
    texts = [f"text {number}" for number in range(60)]
    texts[40] = "poison"
    with Process("-m", "support.fault_server", "{port}") as server:
        server.keep_alive()
        items = []
        if client_of == "sync":
            items = await asyncio.to_thread(stream, server.target, texts, lambda: None)
        else:
            async with qwire.AsyncClient(server.target) as client:
                await client.embed(["a server was there once"])
                items = [item async for item in client.embed_stream(texts, chunk_size=8)]
        (broken,) = [item for item in items if item.error]
        assert broken.id == 40
        assert type(broken.error) is qwire.ModelFailedError
        assert len(server.statuses) == 4
    good = [item for item in items if not item.error]
    vectors = np.stack([item.embedding for item in good])
    np.testing.assert_allclose(vectors, expected([texts[item.id] for item in good]), atol=1e-6)


ROUND_ROBIN = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]


@pytest.mark.parametrize("options", [[], pytest.param(ROUND_ROBIN, marks=pytest.mark.slow)])
def test_a_rolling_restart_of_three_servers_is_no_error_of_anybody(options):
    """Each drains, ends with 0 and comes back, while a stream and calls go on."""
    texts = [f"text {number}" for number in range(100)]
    right_vectors = expected(texts)
    servers = [Process("-m", "support.fault_server", "{port}") for _ in range(3)]
    rolled = threading.Event()

    def roll() -> None:
        for server in servers:
            server.drain()
            assert server.wait() == 0
            server.start()
        rolled.set()

    with servers[0], servers[1], servers[2]:
        target = "ipv4:" + ",".join(server.target for server in servers)
        roller = threading.Thread(target=roll)
        items = calls = 0
        with qwire.Client(target, channel_options=options) as client:

            def endless():
                while not rolled.is_set():
                    yield from texts
                    time.sleep(0.01)

            for item in client.embed_stream(endless(), chunk_size=8, window=64):
                assert item.error is None
                assert item.id == items
                want = right_vectors[item.id % len(texts)]
                np.testing.assert_allclose(item.embedding, want, atol=1e-6)
                items += 1
                if items == 100:
                    roller.start()
                if items % 200 == 0:
                    told = client.embed(texts[:5])
                    np.testing.assert_allclose(told, right_vectors[:5], atol=1e-6)
                    calls += 1
        roller.join()
        assert calls > 0
        for server in servers:
            assert server.asked("census")["open"] == 0


@pytest.mark.skipif(bool(clock.missing()), reason=clock.missing() or "-")
def test_a_wall_clock_that_jumps_back_and_forth_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of server and client both: hours, days, years, with calls under a deadline."""
    wall = clock.WallClock(tmp_path)
    wall.jump(10**9)
    look = [sys.executable, "-c", "import time; print(time.time() - time.monotonic())"]
    seen = subprocess.check_output(look, env=ENVIRONMENT | wall.environment)
    assert float(seen) > time.time() - time.monotonic() + 9e8, "the clock does not jump"
    for name, value in wall.environment.items():
        monkeypatch.setenv(name, value)
    with Process("-m", "support.fault_server", "{port}") as server:
        command = [sys.executable, "-c", STEADY, server.target]
        environment = ENVIRONMENT | wall.environment
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as client:
            jumps = iter([3600, -3600, 86_400 * 365, -86_400, 0] * 100)
            for _ in client.stdout:
                wall.jump(next(jumps))
        assert client.returncode == 0
        assert server.asked("census")["open"] == 0
        assert server.starts == 1


async def test_figures_and_waits_do_not_read_the_wall_clock(monkeypatch: pytest.MonkeyPatch):
    """Where no C compiler is: at least Python's own view of it jumps."""
    true = time.time
    with Process("-m", "support.fault_server", "{port}") as server:
        async with qwire.AsyncClient(server.target) as client:
            for ahead in (0, 86_400, -86_400, 10**9):
                monkeypatch.setattr(time, "time", lambda ahead=ahead: true() + ahead)
                items = [item async for item in client.embed_stream(["a", "b"])]
                right(items, ["a", "b"])


NAMESPACE = """
import fcntl, socket, struct, sys, threading
from support.fake_process import Process

def loopback(*, up):
    with socket.socket() as any_socket:  # SIOCSIFFLAGS
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1 if up else 0))

if sys.argv[1] == "try":
    loopback(up=True)
    sys.exit()
loopback(up=True)
from test_outside import right, stream

texts = [f"text {i}" for i in range(300)]
with Process("-m", "support.fault_server", "{port}") as server:

    def outage():
        loopback(up=False)
        threading.Timer(1.5, lambda: loopback(up=True)).start()

    right(stream(server.target, texts, outage), texts)
    assert server.asked("census")["open"] == 0
"""


def in_namespace(word: str) -> subprocess.CompletedProcess[str]:
    """Run it in a network of its own, where it may do as it likes."""
    command = ["unshare", "-Urn", sys.executable, "-c", NAMESPACE, word]
    paths = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(Path(__file__).parent)])
    environment = ENVIRONMENT | {"PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_network_that_is_down_for_a_while_loses_nothing():
    """The interface itself, so that packets vanish both ways and TCP has to send them again."""
    try:
        tried = in_namespace("try")
    except FileNotFoundError:
        pytest.skip("there is no `unshare`")
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()[-200:]}")
    done = in_namespace("run")
    assert done.returncode == 0, done.stderr
