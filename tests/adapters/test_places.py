"""Every place an embedding object runs, the same for the clients and both adapters.

Vectors are the fake server's: a function of the text alone.
"""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from operator import methodcaller
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

import qwire
from support import forked
from support.fake_server import unit_vectors
from support.machine_speed import hang_limit
from support.web import web_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fake_server import FakeServer

GRPC = tuple(map(int, grpc.__version__.split(".")[:2]))
# How a child may fare that was forked while a call was in flight.
BUSY = {0, forked.FAILED, -signal.SIGSEGV, -signal.SIGABRT}
TEXTS = [f"line {number}" for number in range(100)]


def check(vectors, texts=TEXTS, dim=16):
    np.testing.assert_allclose(vectors, unit_vectors(texts, dim), rtol=1e-6)


def test_event_loops_may_come_and_go(form, fake: FakeServer):
    """Two `asyncio.run` with one object."""
    embedding = form(target=fake.target)
    for _ in range(2):
        check(asyncio.run(embedding.aembed(TEXTS)))
        check([asyncio.run(embedding.aask("line"))], ["line"])


async def test_sync_calls_work_in_a_running_loop(form, fake: FakeServer):
    """As in a notebook, before an async call and after one."""
    embedding = form(target=fake.target)
    check(embedding.embed(TEXTS))
    check(await embedding.aembed(TEXTS))
    check(embedding.embed(TEXTS))


def test_threads_share_one_object(form, fake: FakeServer):
    """Those that block, and those with an event loop each."""
    embedding = form(target=fake.target)
    with ThreadPoolExecutor(8) as pool:
        check(list(pool.map(embedding.ask, TEXTS)))
        check(list(pool.map(lambda text: asyncio.run(embedding.aask(text)), TEXTS)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_work_before_use_and_after(form, fake: FakeServer, copied):
    embedding = form(target=fake.target)
    for _ in range(2):
        twin = copied(embedding)
        check(twin.embed(TEXTS))
        check(asyncio.run(twin.aembed(TEXTS)))
        check(embedding.embed(TEXTS))
        check(asyncio.run(embedding.aembed(TEXTS)))


@pytest.mark.timeout(60)  # the child imports a framework
def test_it_goes_into_a_spawned_pool(form, fake: FakeServer):
    """After use, and with its key."""
    embedding = form(target=fake.target, api_key="secret")
    check([embedding.ask("a")], ["a"])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        check([pool.apply(methodcaller("ask", "from the pool"), (embedding,))], ["from the pool"])
    assert fake.seen[-1].metadata["authorization"] == "Bearer secret"


def test_a_reply_over_four_mebibytes_arrives(form, fake: FakeServer):
    """The most that gRPC takes unless it is told otherwise."""
    fake.dim = 20_000
    texts = TEXTS[:64]
    embedding = form(target=fake.target)
    check(embedding.embed(texts), texts, fake.dim)
    check(asyncio.run(embedding.aembed(texts)), texts, fake.dim)
    assert sum(len(seen.request.texts) == len(texts) for seen in fake.seen) == 2


def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(
    form, fake: FakeServer, monkeypatch
):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    embedding = form(target=fake.target)
    check(embedding.embed(TEXTS))
    check(asyncio.run(embedding.aembed(TEXTS)))


def test_a_dead_port_is_told_with_what_to_do(form):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"localhost:{free.getsockname()[1]}"
    embedding = form(target=target)
    said = f"nothing answers at {target}: start one with `qwire serve`"
    with pytest.raises(qwire.ConnectionFailedError, match=said):
        embedding.embed(TEXTS)
    with pytest.raises(qwire.ConnectionFailedError, match=said):
        asyncio.run(embedding.aembed(TEXTS))


def test_an_http_port_taken_for_the_grpc_one_is_recognised(form):
    with web_server() as target:
        embedding = form(target=target)
        with pytest.raises(qwire.ConnectionFailedError, match=r"looks like an HTTP port.*50051"):
            embedding.embed(TEXTS)
        with pytest.raises(qwire.ConnectionFailedError, match=r"looks like an HTTP port.*50051"):
            asyncio.run(embedding.aembed(TEXTS))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.timeout(60)  # the program imports a framework
def test_a_forked_child_embeds_and_its_parent_goes_on(form, fake: FakeServer):
    """Of a fork with a call in flight only this is sure: the child ends, and the parent goes on.

    gRPC does not support that one: its core crashed in 1 child of 100 under load.
    """
    gate = fake.hold("slow")
    with forking(form, fake) as program:
        assert program.stdout.readline() == "unused 0\n"
        assert program.stdout.readline() == "used 0\n"
        assert gate.arrived.wait(hang_limit(10))
        program.stdin.write("\n")
        program.stdin.flush()
        busy = program.stdout.readline()
        gate.open()
        status = program.wait()
    if GRPC < (1, 85) and status == -signal.SIGSEGV:
        pytest.skip("this grpcio crashes in the parent too (1.60 did; between is not tried)")
    assert busy in {f"busy {number}\n" for number in BUSY}
    assert status == 0
    assert fake.seen[-1].request.texts == ["parent in the end, async"]


@contextmanager
def forking(form, fake: FakeServer) -> Iterator[subprocess.Popen[str]]:
    """The program of support.forked; it and its children are gone in the end."""
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, forked.__file__, form.__name__, fake.target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as program:
        try:
            yield program
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
