"""The engine with a model that can be held back and made to fail."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
import pytest

from qwire_server.engine.engine import Engine
from qwire_server.engine.observer import (
    AnswerRecord,
    BatchRecord,
    QueueRecord,
    ReloadRecord,
    RequestRecord,
)
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.queue.cost import CostModel
from qwire_server.engine.runner import Model
from qwire_server.engine.work import Outcome, RequestClass, RowForm, Work
from qwire_server.model.errors import DeviceLost, OutOfMemory
from qwire_server.model.launched import Launched, timed
from support.machine_speed import hang_limit
from support.runners import VOCAB_SIZE, FakeRunner, StreamRunner, row

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

    def answer(self, record: AnswerRecord) -> None:
        raise AssertionError("the engine knows no requests")

    def request(self, record: RequestRecord) -> None:
        raise AssertionError("the engine knows no requests")

    def reload(self, record: ReloadRecord) -> None:
        raise AssertionError("the engine knows no files")


class Bench:
    """An engine, its fake model, and what came out of it."""

    def __init__(
        self, runner: FakeRunner | None = None, stall_seconds: float = 60, **limits: object
    ) -> None:
        self.runner = runner or FakeRunner()
        self.observer = Recorder()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.fatal: queue.Queue[str] = queue.Queue()
        self._keys = count(1)
        self.cost = CostModel()
        self.engine = Engine(
            {"m": Model(self.runner, self.cost)},
            limits=BatchLimits(**{"tokens": 100, **limits}),
            deliver=lambda outcomes: [self.outcomes.put(o) for o in outcomes] and None,
            observer=self.observer,
            on_fatal=self.fatal.put,
            stall_seconds=stall_seconds,
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
            outcome = self.outcomes.get(timeout=hang_limit(5))
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
        assert self.runner.entered.acquire(timeout=hang_limit(5))
        return key

    def release(self) -> None:
        self.runner.gate.set()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An engine on a device that has ended a batch when its launch returns, as a CPU has."""
    yield from benches(FakeRunner())


@pytest.fixture(params=[FakeRunner, StreamRunner])
def any_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An engine on either kind of device."""
    yield from benches(request.param())


@pytest.fixture
def ahead() -> Iterator[Bench]:
    """An engine on a device that works on its own."""
    yield from benches(StreamRunner())


def benches(runner: FakeRunner, **limits: object) -> Iterator[Bench]:
    bench = Bench(runner, **limits)
    yield bench
    bench.release()
    bench.engine.close()


def unit(ids: list[int]) -> np.ndarray:
    vector = row(np.array(ids, np.int32)).astype(np.float64)
    return vector / np.linalg.norm(vector)


def test_each_text_gets_its_own_normalised_row(any_bench: Bench):
    key = any_bench.submit([1, 2], [3], [5, 4])
    answers = any_bench.answers(3)
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


def test_work_larger_than_a_batch_is_answered_in_parts_and_in_full(any_bench: Bench):
    texts = [[i] * 30 for i in range(10)]
    key = any_bench.submit(*texts)
    answers = any_bench.answers(10)
    assert set(answers) == {(key, i) for i in range(10)}
    assert all(sum(batch) <= 100 for batch in any_bench.runner.batches)


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


def test_out_of_memory_is_met_by_halving_until_it_fits(any_bench: Bench):
    def at_most_two(batch: object) -> None:
        if len(batch) > 2:
            raise OutOfMemory

    any_bench.runner.fails = at_most_two
    key = any_bench.submit(*[[i] for i in range(7)])
    answers = any_bench.answers(7)
    for i in range(7):
        np.testing.assert_allclose(answers[key, i], unit([i]), atol=1e-6)
    assert any_bench.observer.batches[-1].splits > 0


def test_a_text_that_alone_exceeds_memory_fails_and_its_companions_do_not(any_bench: Bench):
    def without_nine(batch: object) -> None:
        if any(9 in ids for ids in batch):
            raise OutOfMemory

    any_bench.runner.fails = without_nine
    key = any_bench.submit([1], [9], [3])
    answers = any_bench.answers(3)
    assert answers[key, 1] == "MODEL_FAILED"
    np.testing.assert_allclose(answers[key, 2], unit([3]), atol=1e-6)


def test_a_failing_batch_is_retried_text_by_text_so_that_only_the_culprit_fails(any_bench: Bench):
    def not_nine(batch: object) -> None:
        if any(9 in ids for ids in batch):
            raise ValueError("the text of the input must not leak: 9")

    any_bench.runner.fails = not_nine
    any_bench.hold()
    good, bad = any_bench.submit([1], [2]), any_bench.submit([9])
    any_bench.release()
    answers = any_bench.answers(4)
    assert answers[bad, 0] == "MODEL_FAILED"
    np.testing.assert_allclose(answers[good, 1], unit([2]), atol=1e-6)


def test_a_failure_that_does_not_come_back_is_nobodys_error(any_bench: Bench):
    failures = iter([True])

    def once(_: object) -> None:
        if next(failures, False):
            raise ValueError

    any_bench.runner.fails = once
    key = any_bench.submit([1], [2])
    answers = any_bench.answers(2)
    np.testing.assert_allclose(answers[key, 0], unit([1]), atol=1e-6)


def spoil(runner: FakeRunner, values: dict[int, float]) -> None:
    """From now on rows of texts that begin with these ids hold these values."""
    run = runner.run

    def spoiled(token_ids: Sequence[np.ndarray]) -> np.ndarray:
        rows = run(token_ids)
        for i, ids in enumerate(token_ids):
            rows[i, 3] = values.get(int(ids[0]), rows[i, 3])
        return rows

    runner.run = spoiled


def test_a_row_that_is_not_finite_is_that_texts_error_and_never_a_vector(any_bench: Bench):
    spoil(any_bench.runner, {2: np.nan, 3: np.inf})
    key = any_bench.submit([1], [2], [3], [4])
    answers = any_bench.answers(4)
    assert answers[key, 1] == answers[key, 2] == "NOT_FINITE"
    np.testing.assert_allclose(answers[key, 3], unit([4]), atol=1e-6)
    (record,) = any_bench.observer.batches
    assert (record.not_finite, record.failed) == (2, 2)


def test_a_row_that_is_not_finite_is_run_once_more_alone_on_the_plain_path(any_bench: Bench):
    """So that a fault of the compiler, of a captured graph or of a kept prefix costs nothing."""
    run, plain = any_bench.runner.run, []

    def launch_plain(token_ids: Sequence[np.ndarray]) -> Launched:
        plain.append([ids.tolist() for ids in token_ids])
        return timed(lambda: run(token_ids))

    spoil(any_bench.runner, {2: np.nan})
    any_bench.runner.launch_plain = launch_plain
    key = any_bench.submit([1], [2, 5], [3], prefix=1)
    answers = any_bench.answers(3)
    np.testing.assert_allclose(answers[key, 1], unit([2, 5]), atol=1e-6)
    np.testing.assert_allclose(answers[key, 2], unit([3]), atol=1e-6)
    assert plain == [[[2, 5]]]
    (record,) = any_bench.observer.batches
    assert (record.not_finite, record.failed) == (1, 0)


@pytest.mark.parametrize("error", [OutOfMemory(), ValueError()])
def test_a_text_that_fails_on_the_plain_path_is_its_own_error(any_bench: Bench, error: Exception):
    def launch_plain(_: Sequence[np.ndarray]) -> Launched:
        raise error

    spoil(any_bench.runner, {2: np.nan})
    any_bench.runner.launch_plain = launch_plain
    key = any_bench.submit([1], [2])
    answers = any_bench.answers(2)
    assert answers[key, 1] == "MODEL_FAILED"
    np.testing.assert_allclose(answers[key, 0], unit([1]), atol=1e-6)


@pytest.mark.parametrize("bad", [[VOCAB_SIZE], [-1], []])
def test_ids_that_could_break_a_device_never_reach_it(any_bench: Bench, bad: list[int]):
    key = any_bench.submit([1], bad)
    answers = any_bench.answers(2)
    assert answers[key, 1] == "INTERNAL"
    np.testing.assert_allclose(answers[key, 0], unit([1]), atol=1e-6)
    assert all(len(batch) == 1 for batch in any_bench.runner.batches)


def test_a_lost_device_answers_everything_accepted_and_everything_after(any_bench: Bench):
    def lost(_: object) -> None:
        raise DeviceLost("CUDA error: an illegal memory access was encountered")

    any_bench.hold()
    waiting = any_bench.submit([1], [2], request_class=RequestClass.BULK)
    any_bench.runner.fails = lost
    any_bench.release()
    answers = any_bench.answers(3)
    assert answers[waiting, 0] == answers[waiting, 1] == "UNAVAILABLE"
    assert "illegal memory access" in any_bench.fatal.get(timeout=hang_limit(5))
    late = any_bench.submit([3])
    assert any_bench.answers(1)[late, 0] == "UNAVAILABLE"


def test_the_death_of_the_worker_thread_answers_everything(any_bench: Bench):
    def broken(_: BatchRecord) -> None:
        raise RuntimeError

    any_bench.observer.batch = broken
    first, second = any_bench.hold(), any_bench.submit([2], [3])
    any_bench.release()
    answers = any_bench.answers(3)
    assert {answers[first, 0], answers[second, 0], answers[second, 1]} == {"UNAVAILABLE"}
    assert "RuntimeError" in any_bench.fatal.get(timeout=hang_limit(5))


def test_closing_answers_what_was_accepted_and_refuses_what_comes(bench: Bench):
    bench.hold()
    accepted = bench.submit([1], [2])
    closer = threading.Thread(target=bench.engine.close)
    closer.start()
    while not bench.engine._inflight._closed:
        time.sleep(0.001)
    late = bench.submit([3])
    bench.release()
    closer.join(hang_limit(5))
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


def test_entries_are_forgotten_once_answered(any_bench: Bench):
    for _ in range(20):
        any_bench.submit([1], [2])
    any_bench.answers(40)
    any_bench.engine.close()
    assert repr(any_bench.engine).startswith("<Engine works 0 <Backlog interactive 0, bulk 0>")


def test_the_next_batch_is_launched_while_one_computes_and_no_third(ahead: Bench):
    ahead.hold()
    for i in range(4):
        ahead.submit([i] * 100, request_class=RequestClass.BULK)
    ahead.release()
    assert len(ahead.answers(5)) == 5
    assert ahead.runner.most == 2


def test_a_device_lost_behind_a_batch_answers_those_launched_after_it(ahead: Bench):
    def lost(_: object) -> None:
        raise DeviceLost("CUDA error: unspecified launch failure")

    ahead.hold()
    keys = [ahead.submit([i] * 100, request_class=RequestClass.BULK) for i in range(3)]
    ahead.runner.fails = lost
    ahead.release()
    answers = ahead.answers(4)
    assert all(answers[key, 0] == "UNAVAILABLE" for key in keys)


def test_batches_are_smaller_once_memory_ran_out(any_bench: Bench):
    def at_most_fifty(batch: object) -> None:
        if sum(map(len, batch)) > 50:
            raise OutOfMemory

    any_bench.runner.fails = at_most_fifty
    any_bench.submit(*[[i] * 10 for i in range(10)], request_class=RequestClass.BULK)
    any_bench.answers(10)
    splits = any_bench.observer.batches[0].splits
    any_bench.submit(*[[i] * 10 for i in range(10)], request_class=RequestClass.BULK)
    any_bench.answers(10)
    assert splits == 1
    assert [record.splits for record in any_bench.observer.batches[1:]] == [0, 0]


def test_a_limit_of_one_text_runs_each_alone():
    for bench in benches(FakeRunner(), texts=1):
        bench.hold()
        bench.submit([1, 2], [3])
        bench.submit([4])
        bench.release()
        bench.answers(4)
        assert bench.runner.batches == [[1], [2], [1], [1]]


def test_a_record_tells_how_long_the_device_starved(bench: Bench):
    look = bench.observer.queue

    def slow(look_now: Callable[[], QueueRecord]) -> None:
        time.sleep(0.05)
        look(look_now)

    bench.observer.queue = slow
    bench.submit([1])
    bench.answers(1)
    assert bench.observer.batches[0].starved_seconds >= 0.05


class SavingRunner(FakeRunner):
    """Believes every hint, and says that it saved as much."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[list[int]] = []

    def launch(self, token_ids: Sequence[np.ndarray], hints: Sequence[int] = ()) -> Launched:
        self.hints.append(list(hints))
        return timed(lambda: self.run(token_ids), list(hints))


@pytest.fixture
def saving() -> Iterator[Bench]:
    yield from benches(SavingRunner())


def test_what_a_work_shares_reaches_the_model_and_what_it_saved_is_told(saving: Bench):
    saving.hold()
    saving.submit([1, 2, 3], [1, 2, 4], prefix=2)
    saving.submit([5, 6])
    saving.release()
    saving.answers(4)
    assert saving.runner.hints == [[0], [2, 2, 0]]
    assert [(b.tokens, b.saved_tokens) for b in saving.observer.batches] == [(1, 0), (8, 4)]
    assert saving.cost.reuse > 0


def test_a_batch_that_failed_is_run_again_as_it_is(saving: Bench):
    """In parts, and with no prefix, which may have been the reason."""
    failures = iter([OutOfMemory()])

    def fail(_: object) -> None:
        for error in failures:
            raise error

    saving.runner.fails = fail
    saving.submit([1, 2, 3], [1, 2, 4], prefix=2)
    saving.answers(2)
    assert saving.runner.hints == [[2, 2], [], []]
    assert saving.observer.batches[0].saved_tokens == 0
