"""A real server process whose model, device or tokenizer fails; the table is server/FAULTS.md."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

import qwire
from support.fake_process import Process
from support.fault_model import expected
from support.machine_speed import hang_limit

pytestmark = pytest.mark.timeout(120)  # servers start, on machines that are busy

TEXTS = [f"text {number}" for number in range(60)]
SETTINGS = ("stall_seconds=1", "drain_seconds=20")


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """For faults that it survives."""
    with Process("-m", "support.fault_server", "{port}", *SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def mortal() -> Iterator[Process]:
    """For faults that end it; its supervisor starts it again."""
    with Process("-m", "support.fault_server", "{port}", *SETTINGS) as running:
        running.keep_alive()
        yield running


@pytest.fixture
def client(server: Process) -> Iterator[qwire.Client]:
    with qwire.Client(server.target) as made:
        made.embed(["warm"])
        yield made


def right(vectors: np.ndarray, texts: list[str]) -> None:
    np.testing.assert_allclose(vectors, expected(texts), atol=1e-6)


@pytest.mark.parametrize("fault", ["oom", "nan", "raise"])
def test_a_fault_of_one_batch_costs_nobody_a_vector(
    server: Process, client: qwire.Client, fault: str, settled
):
    before = settled(server)
    server.tell(fault)
    right(client.embed(TEXTS).vectors, TEXTS)
    server.tell(fault)
    items = list(client.embed_stream(TEXTS))
    assert [item.error for item in items if item.error] == []
    right(np.stack([item.embedding for item in items]), TEXTS)
    assert client.healthy()
    assert settled(server)["failed"] == before["failed"]


def test_a_tokenizer_that_fails_costs_one_request_and_its_error_has_the_request_id(
    server: Process, client: qwire.Client
):
    server.tell("tokenizer")
    server.asked("census")  # so that it has heard
    with pytest.raises(qwire.ServerError) as caught:
        client.embed(["a"])
    assert caught.value.request_id
    assert caught.value.request_id in str(caught.value)
    assert any(caught.value.request_id in line for line in server.lines), "the log has it too"
    assert not any("told to fail" in str(line) for line in caught.value.args)
    right(client.embed(TEXTS).vectors, TEXTS)
    assert client.healthy()


def test_a_tokenizer_that_fails_in_a_stream_costs_one_slice_of_it(
    server: Process, client: qwire.Client
):
    server.tell("tokenizer")
    server.asked("census")
    items = list(client.embed_stream(TEXTS, chunk_size=10))
    failed = [item for item in items if item.error]
    assert 1 <= len(failed) <= 10
    assert {type(item.error) for item in failed} == {qwire.ServerError}
    good = [item for item in items if not item.error]
    right(np.stack([item.embedding for item in good]), [TEXTS[item.id] for item in good])


def told_at_the_end(server: Process) -> list[dict]:
    """The books of each of its processes that ended by itself."""
    ends = [line for line in server.lines if line.startswith("end ")]
    return [json.loads(line.removeprefix("end")) for line in ends]


def serve_again(server: Process) -> None:
    """Return once its supervisor has it running."""
    with qwire.Client(server.target, reconnect_seconds=60) as client:
        while not client.healthy(timeout=1):
            time.sleep(0.05)


def watch_health(target: str, told: list[bool], over: threading.Event) -> threading.Thread:
    """What health said, until it is over; without any other traffic."""

    def look() -> None:
        with qwire.Client(target, timeout=1) as client:
            while not over.is_set():
                try:
                    told.append(client.healthy(timeout=1))
                except qwire.QwireError:
                    told.append(False)
                over.wait(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    return thread


@pytest.mark.parametrize("fault", ["hang", pytest.param("lost", marks=pytest.mark.slow)])
def test_a_device_that_is_lost_or_never_answers_ends_the_server_and_everybody_is_told(
    mortal: Process, fault: str
):
    """UNAVAILABLE to all, NOT_SERVING, a status that is not 0: the supervisor does the rest."""
    serve_again(mortal)
    ended, ends = len(mortal.statuses), told_at_the_end(mortal)
    with qwire.Client(mortal.target, max_attempts=1, reconnect_seconds=0.1) as client:
        client.embed(["warm"])
        told: list[bool] = []
        over = threading.Event()
        watcher = watch_health(mortal.target, told, over)
        mortal.tell(fault)
        mortal.asked("census")
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                client.embed(TEXTS)
            except qwire.QwireError as error:
                errors.append(error)

        callers = [threading.Thread(target=ask) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        while len(mortal.statuses) == ended or not told[-1]:
            time.sleep(0.02)
        over.set()
        watcher.join()
    assert mortal.statuses[ended:] == [1]
    assert {type(error) for error in errors} == {qwire.ConnectionFailedError}
    changes = [told[0], *(now for before, now in pairwise(told) if before != now)]
    assert changes == [True, False, True], "health did not tell the truth, and recover by itself"
    books = told_at_the_end(mortal)[len(ends)]
    assert books["failed"] >= len(TEXTS), "the call that met the fault was accepted"
    assert books["accepted"] == books["answered"] + books["failed"]


@pytest.mark.parametrize("fault", ["lost", pytest.param("hang", marks=pytest.mark.slow)])
def test_a_stream_outlives_a_server_whose_device_is_lost_or_never_answers(
    mortal: Process, fault: str
):
    """Started again by its supervisor; each text is answered once, with its own vector."""
    serve_again(mortal)
    ended = len(mortal.statuses)
    with qwire.Client(mortal.target) as client:
        items = []
        for item in client.embed_stream([f"t {i}" for i in range(300)], chunk_size=8, window=64):
            items.append(item)
            if len(items) == 100:
                mortal.tell(fault)
    assert [item.id for item in items] == list(range(300))
    assert [item.error for item in items if item.error] == []
    right(np.stack([item.embedding for item in items]), [f"t {i}" for i in range(300)])
    assert mortal.statuses[ended:] == [1]


def test_a_server_that_was_stopped_for_longer_than_the_watchdog_waits_goes_on(
    server: Process, client: qwire.Client
):
    """SIGSTOP with a batch under way: nobody is told anything, the answer comes late."""
    starts = server.starts
    answers: list[np.ndarray] = []
    asking = threading.Thread(target=lambda: answers.append(client.embed(TEXTS).vectors))
    server.tell("wait")
    server.asked("census")
    asking.start()
    while not server.asked("census")["open"]:
        pass
    time.sleep(0.1)  # it is in a batch, and the watchdog has seen that
    server.freeze()
    time.sleep(2)
    server.thaw()
    time.sleep(0.2)  # the watchdog looks again, and the batch is still under way
    server.tell("go on")
    asking.join(hang_limit(30))
    right(answers[0], TEXTS)
    assert client.healthy()
    assert server.starts == starts
