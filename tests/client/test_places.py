"""Every place a client runs: loops, threads, copies. Forks and pools: tests/adapters."""

from __future__ import annotations

import _thread
import asyncio
import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import qwire
from support.fake_server import unit_vectors, wait_until
from support.machine_speed import hang_limit

TEXTS = [f"text {number}" for number in range(200)]


def test_importing_and_making_clients_opens_nothing(server):
    code = (
        "import threading, qwire; qwire.Client('localhost:1'); qwire.AsyncClient('localhost:1');"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_one_async_client_serves_two_event_loops(server):
    client = qwire.AsyncClient(server.target)
    for _ in range(2):
        found = asyncio.run(client.embed(TEXTS))
        np.testing.assert_allclose(found.vectors, unit_vectors(TEXTS, 16))
    asyncio.run(client.close())


def test_closed_loops_are_forgotten(server):
    client = qwire.AsyncClient(server.target)
    for _ in range(5):
        asyncio.run(client.embed_query("a"))
    assert len(client._links) == 1
    asyncio.run(client.close())
    assert not client._links


async def test_a_sync_call_works_inside_a_running_loop(server):
    """As in Jupyter."""
    with qwire.Client(server.target) as client:
        np.testing.assert_allclose(client.embed(TEXTS).vectors, unit_vectors(TEXTS, 16))
        assert len(list(client.embed_stream(TEXTS))) == 200


async def test_many_async_calls_at_once(server):
    async with qwire.AsyncClient(server.target) as client:
        found = await asyncio.gather(*(client.embed_query(text) for text in TEXTS[:50]))
    np.testing.assert_allclose(np.stack(found), unit_vectors(TEXTS[:50], 16))


async def test_aclose_is_close(server):
    client = qwire.AsyncClient(server.target)
    await client.embed_query("a")
    await client.aclose()
    with pytest.raises(qwire.ClosedError):
        await client.embed_query("a")


def in_threads(count, work):
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_one_sync_client_serves_many_threads(server):
    with qwire.Client(server.target) as client:

        def work(number):
            texts = [f"{number} {text}" for text in TEXTS]
            np.testing.assert_allclose(client.embed(texts).vectors, unit_vectors(texts, 16))
            assert len(list(client.embed_stream(texts))) == 200

        in_threads(8, work)
        assert len(client._links) == 1


def test_one_async_client_serves_loops_in_many_threads(server):
    client = qwire.AsyncClient(server.target)

    def work(number):
        texts = [f"{number} {text}" for text in TEXTS]
        vectors = asyncio.run(client.embed_documents(texts))
        np.testing.assert_allclose(vectors, unit_vectors(texts, 16))

    in_threads(4, work)
    asyncio.run(client.close())


@pytest.mark.parametrize("kind", [qwire.Client, qwire.AsyncClient])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_carry_the_configuration_and_nothing_else(server, kind, clone):
    client = kind(server.target, api_key="secret", timeout=hang_limit(3), metadata={"tenant": "t"})
    if kind is qwire.Client:
        client.embed(["a"])
        client.close()
    twin = clone(client)
    assert twin._state.config == client._state.config
    assert not twin._links
    if kind is qwire.Client:
        assert twin.embed(["a"]).shape == (1, 16)
        assert server.seen[-1].metadata["authorization"] == "Bearer secret"
        twin.close()


def test_repr_shows_the_target_and_never_the_key(server, connect):
    client = connect(server.target, api_key="very-secret", metadata={"token": "hidden"})
    client.embed(["a"])
    assert server.target in repr(client)
    assert "in_flight=0" in repr(client)
    for text in (repr(client), repr(client._state)):
        assert "very-secret" not in text
        assert "hidden" not in text


def test_a_call_in_flight_shows_in_the_repr(server):
    gate = server.hold("slow")
    with qwire.Client(server.target) as client:
        thread = threading.Thread(target=client.embed, args=(["slow"],))
        thread.start()
        wait_until(lambda: "in_flight=1" in repr(client))
        gate.open()
        thread.join()
        assert "in_flight=0" in repr(client)


def test_closing_ends_what_is_in_flight(server):
    gate = server.hold("slow")
    client = qwire.Client(server.target)

    def work(_):
        with pytest.raises(qwire.ClosedError):
            client.embed(["slow"])

    closer = threading.Thread(target=lambda: (gate.arrived.wait(hang_limit(5)), client.close()))
    closer.start()
    in_threads(1, work)
    closer.join()
    assert gate.cancelled.wait(hang_limit(5))


async def test_closing_ends_what_is_in_flight_async(server):
    gate = server.hold("slow")
    client = qwire.AsyncClient(server.target)
    task = asyncio.create_task(client.embed(["slow"]))
    await asyncio.get_running_loop().run_in_executor(None, gate.arrived.wait, hang_limit(5))
    await client.close()
    with pytest.raises(qwire.ClosedError):
        await task


async def test_cancelling_a_task_cancels_its_calls(server):
    gate = server.hold("text 0")
    async with qwire.AsyncClient(server.target) as client:
        task = asyncio.create_task(client.embed(TEXTS))
        await asyncio.get_running_loop().run_in_executor(None, gate.arrived.wait, hang_limit(5))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().run_in_executor(None, gate.cancelled.wait, hang_limit(5))
        assert gate.cancelled.is_set()
        assert "in_flight=0" in repr(client)


def press_ctrl_c(gate, client, press):
    """A thread that presses once the call is in flight."""

    def work():
        gate.arrived.wait(hang_limit(5))
        wait_until(lambda: "in_flight=1" in repr(client))
        press()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# The second one trips the signal and wakes nobody, as a Ctrl-C just before the wait does.
@pytest.mark.parametrize(
    "press", [lambda: os.kill(os.getpid(), signal.SIGINT), _thread.interrupt_main]
)
def test_ctrl_c_cancels_what_is_in_flight(server, press):
    gate = server.hold("slow")
    with qwire.Client(server.target) as client:
        interrupt = press_ctrl_c(gate, client, press)
        with pytest.raises(KeyboardInterrupt):
            client.embed(["slow"])
        interrupt.join()
        assert gate.cancelled.wait(hang_limit(5))
        assert client.embed(["a"]).shape == (1, 16)


def test_ctrl_c_ends_a_stream_that_waits(server):
    started = threading.Event()

    async def never(requests, context):
        started.set()
        await asyncio.Event().wait()
        yield

    def press():
        started.wait()
        time.sleep(0.2)  # for what comes before the wait
        _thread.interrupt_main()

    server.stream = never
    with qwire.Client(server.target) as client:
        interrupt = threading.Thread(target=press)
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            list(client.embed_stream(["a"]))
        interrupt.join()
        assert "in_flight=0" in repr(client)


def test_a_stream_leaves_no_thread_behind(server):
    before = set(threading.enumerate())
    with qwire.Client(server.target) as client:
        assert len(list(client.embed_stream(TEXTS))) == 200
        for _ in client.embed_stream(TEXTS):
            break
    wait_until(lambda: set(threading.enumerate()) <= before)
