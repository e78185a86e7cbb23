"""When the next batch is launched, and how large it may be once memory ran out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwire_server.engine.queue.ahead import DEPTH, Ahead
from qwire_server.engine.queue.budget import Budget


def test_an_idle_device_gets_a_batch_at_once():
    assert Ahead().delay(123) == 0


def test_the_next_batch_is_launched_shortly_before_the_device_is_free():
    ahead = Ahead()
    ahead.launched(0, 1_000, 20_000)
    delay = ahead.delay(1_000)
    assert delay == 19_000 - ahead.lead
    assert ahead.delay(1_000 + delay) == 0


def test_slow_launches_begin_earlier():
    quick, slow = Ahead(), Ahead()
    for _ in range(20):
        quick.launched(0, 100, 50_000)
        quick.finished(50_000)
        slow.launched(0, 5_000, 50_000)
        slow.finished(50_000)
    assert slow.lead > quick.lead + 9_000


def test_a_device_that_blocks_while_it_computes_is_never_waited_for():
    """On a CPU a launch takes as long as the batch, so it begins as soon as the last one ended."""
    ahead, now = Ahead(), 0
    for cost in [20_000] * 20:
        ahead.launched(now, now + cost, cost)
        now += cost
        ahead.finished(now)
        assert ahead.delay(now) == 0


def test_a_batch_that_ends_early_frees_the_device_early():
    ahead = Ahead()
    ahead.launched(0, 0, 20_000)
    ahead.launched(19_900, 19_900, 10_000)
    ahead.finished(15_000)
    assert ahead.remaining(15_000) == 10_000
    ahead.finished(18_000)
    assert ahead.remaining(18_000) == 0


def test_no_more_than_two_are_launched():
    ahead = Ahead()
    for _ in range(DEPTH):
        assert ahead.delay(10**9) == 0
        ahead.launched(10**9, 10**9, 0)
    assert ahead.delay(10**12) is None


@given(st.lists(st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)), max_size=50))
def test_a_wrong_estimate_delays_no_batch_for_ever(batches: list[tuple[int, int]]):
    ahead, now = Ahead(), 0
    for estimated, real in batches:
        ahead.launched(now, now, estimated)
        now += real
        ahead.finished(now)
        assert ahead.delay(now) == 0
        assert ahead.remaining(now) == 0


def test_memory_that_ran_out_halves_the_budget_of_what_did_not_fit():
    budget = Budget(1000)
    budget.exceeded(600)
    assert budget.tokens == 300
    budget.exceeded(900)
    assert budget.tokens == 150


def test_the_budget_recovers_slowly_with_full_batches_and_not_with_small_ones():
    budget = Budget(1000)
    budget.exceeded(1000)
    for _ in range(100):
        budget.fitted(10)
    assert budget.tokens == 500
    budget.fitted(500)
    assert 500 < budget.tokens < 550
    for _ in range(100):
        budget.fitted(budget.tokens)
    assert budget.tokens == 1000


@given(st.lists(st.integers(0, 5000)), st.integers(1, 4096))
def test_the_budget_stays_between_one_and_its_most(sizes: list[int], most: int):
    budget = Budget(most)
    for size in sizes:
        budget.exceeded(size) if size % 2 else budget.fitted(size)
        assert 1 <= budget.tokens <= most
