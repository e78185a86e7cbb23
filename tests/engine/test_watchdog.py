"""An engine that has work and gets nowhere."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest

from qwire_server.engine.engine import Engine
from qwire_server.engine.inflight import Progress
from qwire_server.engine.observer import Observers
from qwire_server.engine.queue.backlog import BatchLimits
from qwire_server.engine.queue.cost import CostModel
from qwire_server.engine.runner import Model
from qwire_server.engine.watchdog import Patience
from qwire_server.engine.work import Outcome, RowForm, Work
from support.machine_speed import hang_limit
from support.runners import FakeRunner, StreamRunner

STUCK, IDLE = Progress(busy=True, moves=7, cost=0), Progress(busy=False, moves=7, cost=0)


def seconds_until_over(patience: Patience, progress: Progress, elapsed: float = 0.5) -> float:
    """How long it looks on."""
    looks = 0
    while not patience.is_over(progress, elapsed):
        looks += 1
        assert looks < 10_000
    return looks * elapsed


def test_it_loses_patience_after_its_seconds_and_not_before():
    assert 10 <= seconds_until_over(Patience(10), STUCK) <= 11


def test_without_work_it_waits_for_ever():
    patience = Patience(10)
    assert not any(patience.is_over(IDLE, 1) for _ in range(1000))


def test_any_step_of_any_batch_is_progress():
    patience = Patience(10)
    for moves in range(1000):
        assert not patience.is_over(Progress(busy=True, moves=moves // 9, cost=0), 1)


def test_a_batch_that_should_take_long_gets_twenty_times_its_estimate():
    slow = Progress(busy=True, moves=7, cost=2_000_000)
    assert 40 <= seconds_until_over(Patience(10), slow) <= 41


def test_time_that_the_process_was_stopped_is_not_counted():
    """SIGSTOP, a frozen container, a suspended machine: the engine stood still for good reason."""
    patience = Patience(10)
    assert not any(patience.is_over(STUCK, 3600) for _ in range(5))


class Stuck:
    """An engine whose device never answers, until the test ends."""

    def __init__(self, runner: FakeRunner) -> None:
        self.runner = runner
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.fatal: queue.Queue[str] = queue.Queue()
        self.engine = Engine(
            {"m": Model(runner, CostModel())},
            limits=BatchLimits(tokens=10),
            deliver=lambda outcomes: [self.outcomes.put(o) for o in outcomes] and None,
            observer=Observers(),
            on_fatal=self.fatal.put,
            stall_seconds=0.3,
        )

    def submit(self, key: int) -> None:
        ids = np.array([key] * 8, np.int32)
        self.engine.submit(Work(key=key, token_ids=[ids], costs=[8], form=RowForm(8), model="m"))


@pytest.mark.parametrize("kind", [FakeRunner, StreamRunner])
def test_a_forward_that_never_returns_answers_everything_and_its_thread_is_left_behind(kind):
    stuck = Stuck(kind())
    stuck.runner.gate.clear()
    try:
        for key in range(1, 5):
            stuck.submit(key)
        answers = [stuck.outcomes.get(timeout=hang_limit(10)) for _ in range(4)]
        assert {outcome.key for outcome in answers} == {1, 2, 3, 4}
        assert {outcome.failures[0].code for outcome in answers} == {"UNAVAILABLE"}
        assert "no progress" in stuck.fatal.get(timeout=hang_limit(10))
        closing = threading.Thread(target=stuck.engine.close)
        closing.start()
        closing.join(hang_limit(10))
        assert not closing.is_alive(), "closing waits for the stuck thread"
    finally:
        stuck.runner.gate.set()
    assert stuck.outcomes.empty(), "a text was answered twice"
    assert stuck.fatal.empty()


def test_the_log_tells_where_the_stuck_thread_is(caplog: pytest.LogCaptureFixture):
    stuck = Stuck(FakeRunner())
    stuck.runner.gate.clear()
    try:
        stuck.submit(1)
        stuck.fatal.get(timeout=hang_limit(10))
    finally:
        stuck.runner.gate.set()
    assert "qwire-launch is at:" in caplog.text
    assert "self.gate.wait" in caplog.text
    stuck.engine.close()
