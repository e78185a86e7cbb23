"""The engine with a model that can be held back and made to fail."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest

from qwire_server.engine.engine import Engine
from qwire_server.engine.observer import BatchRecord, QueueRecord, RequestRecord
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.queue.cost import CostModel
from qwire_server.engine.runner import Model
from qwire_server.engine.work import Outcome, RequestClass, RowForm, Work
from qwire_server.model.errors import DeviceLost, OutOfMemory
from support.runners import VOCAB_SIZE, FakeRunner, row

FORM = RowForm(8)


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[BatchRecord] = []
        self.queues: list[QueueRecord] = []

    def batch(self, record: BatchRecord) -> None:
        self.batches.append(record)

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        self.queues.append(look())

    def request(self, record: RequestRecord) -> None:
        raise AssertionError("the engine knows no requests")


class Bench:
    """An engine, its fake model, and what came out of it."""

    def __init__(self, batch_tokens: int = 100) -> None:
        self.runner = FakeRunner()
        self.observer = Recorder()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.fatal: queue.Queue[str] = queue.Queue()
        self._keys = count(1)
        self.engine = Engine(
            {"m": Model(self.runner, CostModel())},
            limits=BatchLimits(tokens=batch_tokens),
            deliver=lambda outcomes: [self.outcomes.put(o) for o in outcomes] and None,
            observer=self.observer,
            on_fatal=self.fatal.put,
        )

    def submit(self, *texts: list[int], **facts: object) -> int:
        key = next(self._keys)
        ids = [np.array(t, np.int32) for t in texts]
        costs = [max(1, len(t)) for t in texts]
        self.engine.submit(Work(key=key, token_ids=ids, costs=costs, form=FORM, model="m", **facts))
        return key

    def answers(self, texts: int) -> dict[tuple[int, int], np.ndarray | str]:
        """Vector, or error code, of each (key, index), once so many texts are answered."""
        seen: dict[tuple[int, int], np.ndarray | str] = {}
        while len(seen) < texts:
            outcome = self.outcomes.get(timeout=5)
            rows = np.frombuffer(outcome.rows.data, "<f4").reshape(len(outcome.indices), 8)
            new = {(outcome.key, i): r for i, r in zip(outcome.indices, rows, strict=True)}
            new |= {(outcome.key, f.index): f.code for f in outcome.failures}
            assert not new.keys() & seen.keys(), "a text was answered twice"
            seen |= new
        return seen

    def hold(self) -> int:
        """Keep the model busy with one text until `release`; the text's key."""
        self.runner.gate.clear()
        key = self.submit([1])
        assert self.runner.entered.acquire(timeout=5)
        return key

    def release(self) -> None:
        self.runner.gate.set()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.release()
    bench.engine.close()


def unit(ids: list[int]) -> np.ndarray:
    vector = row(np.array(ids, np.int32)).astype(np.float64)
    return vector / np.linalg.norm(vector)


def test_each_text_gets_its_own_normalised_row(bench: Bench):
    key = bench.submit([1, 2], [3], [5, 4])
    answers = bench.answers(3)
    for i, ids in enumerate([[1, 2], [3], [5, 4]]):
        np.testing.assert_allclose(answers[key, i], unit(ids), atol=1e-6)


def test_requests_that_come_while_the_model_is_busy_share_the_next_batch(bench: Bench):
    bench.hold()
    for _ in range(5):
        bench.submit([1, 2, 3])
    bench.release()
    bench.answers(6)
    assert bench.runner.batches == [[1], [3] * 5]


def test_an_idle_engine_runs_a_text_at_once_and_alone(bench: Bench):
    bench.submit([1, 2])
    bench.answers(1)
    bench.submit([3])
    bench.answers(1)
    assert bench.runner.batches == [[2], [1]]


def test_interactive_work_overtakes_bulk_work(bench: Bench):
    bench.hold()
    bulk = bench.submit([1] * 90, [2] * 90, request_class=RequestClass.BULK)
    question = bench.submit([3] * 50)
    bench.release()
    bench.answers(4)
    assert bench.runner.batches[1] == [50]
    assert bulk < question


def test_work_larger_than_a_batch_is_answered_in_parts_and_in_full(bench: Bench):
    texts = [[i] * 30 for i in range(10)]
    key = bench.submit(*texts)
    answers = bench.answers(10)
    assert set(answers) == {(key, i) for i in range(10)}
    assert all(sum(batch) <= 100 for batch in bench.runner.batches)


def test_an_expired_text_is_answered_and_not_computed(bench: Bench):
    bench.hold()
    key = bench.submit([7, 7], deadline=time.monotonic() - 1)
    bench.release()
    assert bench.answers(2)[key, 0] == "DEADLINE_EXCEEDED"
    assert [2] not in bench.runner.batches


def test_a_cancelled_text_is_never_computed(bench: Bench):
    bench.hold()
    key = bench.submit([7, 7])
    bench.engine.cancel(key)
    after = bench.submit([8, 8, 8])
    bench.release()
    answers = bench.answers(2)
    assert (after, 0) in answers
    assert (key, 0) not in answers
    assert bench.runner.batches == [[1], [3]]


def test_out_of_memory_is_met_by_halving_until_it_fits(bench: Bench):
    def at_most_two(batch: object) -> None:
        if len(batch) > 2:
            raise OutOfMemory

    bench.runner.fails = at_most_two
    key = bench.submit(*[[i] for i in range(7)])
    answers = bench.answers(7)
    for i in range(7):
        np.testing.assert_allclose(answers[key, i], unit([i]), atol=1e-6)
    assert bench.observer.batches[-1].splits > 0


def test_a_text_that_alone_exceeds_memory_fails_and_its_companions_do_not(bench: Bench):
    def without_nine(batch: object) -> None:
        if any(9 in ids for ids in batch):
            raise OutOfMemory

    bench.runner.fails = without_nine
    key = bench.submit([1], [9], [3])
    answers = bench.answers(3)
    assert answers[key, 1] == "MODEL_FAILED"
    np.testing.assert_allclose(answers[key, 2], unit([3]), atol=1e-6)


def test_a_failing_batch_is_retried_text_by_text_so_that_only_the_culprit_fails(bench: Bench):
    def not_nine(batch: object) -> None:
        if any(9 in ids for ids in batch):
            raise ValueError("the text of the input must not leak: 9")

    bench.runner.fails = not_nine
    bench.hold()
    good, bad = bench.submit([1], [2]), bench.submit([9])
    bench.release()
    answers = bench.answers(4)
    assert answers[bad, 0] == "MODEL_FAILED"
    np.testing.assert_allclose(answers[good, 1], unit([2]), atol=1e-6)


def test_a_failure_that_does_not_come_back_is_nobodys_error(bench: Bench):
    failures = iter([True])

    def once(_: object) -> None:
        if next(failures, False):
            raise ValueError

    bench.runner.fails = once
    key = bench.submit([1], [2])
    answers = bench.answers(2)
    np.testing.assert_allclose(answers[key, 0], unit([1]), atol=1e-6)


def test_a_row_that_is_not_finite_is_that_texts_error_and_never_a_vector(bench: Bench):
    run = bench.runner.run
    bad = {2: np.nan, 3: np.inf}

    def spoil(token_ids):
        rows = run(token_ids)
        for i, ids in enumerate(token_ids):
            rows[i, 3] = bad.get(int(ids[0]), rows[i, 3])
        return rows

    bench.runner.run = spoil
    key = bench.submit([1], [2], [3], [4])
    answers = bench.answers(4)
    assert answers[key, 1] == answers[key, 2] == "NOT_FINITE"
    np.testing.assert_allclose(answers[key, 3], unit([4]), atol=1e-6)


@pytest.mark.parametrize("bad", [[VOCAB_SIZE], [-1], []])
def test_ids_that_could_break_a_device_never_reach_it(bench: Bench, bad: list[int]):
    key = bench.submit([1], bad)
    answers = bench.answers(2)
    assert answers[key, 1] == "INTERNAL"
    np.testing.assert_allclose(answers[key, 0], unit([1]), atol=1e-6)
    assert all(len(batch) == 1 for batch in bench.runner.batches)


def test_a_lost_device_answers_everything_accepted_and_everything_after(bench: Bench):
    def lost(_: object) -> None:
        raise DeviceLost("CUDA error: an illegal memory access was encountered")

    bench.hold()
    waiting = bench.submit([1], [2], request_class=RequestClass.BULK)
    bench.runner.fails = lost
    bench.release()
    answers = bench.answers(3)
    assert answers[waiting, 0] == answers[waiting, 1] == "UNAVAILABLE"
    assert "illegal memory access" in bench.fatal.get(timeout=5)
    late = bench.submit([3])
    assert bench.answers(1)[late, 0] == "UNAVAILABLE"


def test_the_death_of_the_worker_thread_answers_everything(bench: Bench):
    def broken(_: BatchRecord) -> None:
        raise RuntimeError

    bench.observer.batch = broken
    first, second = bench.hold(), bench.submit([2], [3])
    bench.release()
    answers = bench.answers(3)
    assert {answers[first, 0], answers[second, 0], answers[second, 1]} == {"UNAVAILABLE"}
    assert "RuntimeError" in bench.fatal.get(timeout=5)


def test_closing_answers_what_was_accepted_and_refuses_what_comes(bench: Bench):
    bench.hold()
    accepted = bench.submit([1], [2])
    closer = threading.Thread(target=bench.engine.close)
    closer.start()
    while not bench.engine._closed:
        time.sleep(0.001)
    late = bench.submit([3])
    bench.release()
    closer.join(5)
    answers = bench.answers(4)
    assert answers[late, 0] == "UNAVAILABLE"
    np.testing.assert_allclose(answers[accepted, 1], unit([2]), atol=1e-6)


def test_a_batch_record_says_what_ran(bench: Bench):
    bench.hold()
    bench.submit([1, 2], request_class=RequestClass.BULK)
    bench.submit([3])
    bench.release()
    bench.answers(3)
    record = bench.observer.batches[1]
    assert (record.texts, record.tokens, record.bulk_tokens, record.fill) == (2, 3, 2, None)
    assert record.compute_seconds > 0
    assert record.waited_seconds > 0


def test_once_a_second_a_record_tells_what_waits_by_class_and_client(bench: Bench):
    bench.hold()
    bench.engine._looked = 0
    bench.submit([1, 2], [3], client="a", request_class=RequestClass.BULK)
    bench.submit([4] * 99, client="b")
    bench.release()
    bench.answers(4)
    (_, record) = bench.observer.queues
    (waiting,) = record.waiting
    assert (waiting.client, waiting.texts, waiting.cost) == ("a", 2, 3)
    assert waiting.since <= record.at


def test_entries_are_forgotten_once_answered(bench: Bench):
    for _ in range(20):
        bench.submit([1], [2])
    bench.answers(40)
    bench.engine.close()
    assert repr(bench.engine) == "<Engine works 0 <Backlog interactive 0, bulk 0>>"
