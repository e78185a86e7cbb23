"""The order of waiting work."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.engine.backlog import Backlog, Entry, Item
from qwire_server.engine.work import RequestClass, RowForm, Work

INTERACTIVE, BULK = RequestClass.INTERACTIVE, RequestClass.BULK


def items(*lengths: int, model: str = "m", key: int = 1) -> list[Item]:
    ids = [np.zeros(n, np.int32) for n in lengths]
    entry = Entry(Work(key=key, token_ids=ids, form=RowForm(8), model=model))
    return [Item(entry, i, array) for i, array in enumerate(ids)]


def costs(batch: list[Item]) -> list[int]:
    return [item.cost for item in batch]


def test_a_batch_is_the_longest_run_that_fits_the_budget_in_order():
    backlog = Backlog(0.2)
    backlog.push(items(4, 5, 3, 1), INTERACTIVE)
    assert costs(backlog.take(10)) == [4, 5]
    assert costs(backlog.take(10)) == [3, 1]
    assert backlog.take(10) == []


def test_an_item_larger_than_the_budget_goes_alone():
    backlog = Backlog(0.2)
    backlog.push(items(50, 2), INTERACTIVE)
    assert costs(backlog.take(10)) == [50]
    assert costs(backlog.take(10)) == [2]


def test_interactive_items_go_before_bulk_items_that_came_first():
    backlog = Backlog(0.0)
    backlog.push(items(10, 10), BULK)
    backlog.push(items(3), INTERACTIVE)
    assert costs(backlog.take(10)) == [3]
    assert costs(backlog.take(10)) == [10]


def test_bulk_fills_what_interactive_leaves_over():
    backlog = Backlog(0.0)
    backlog.push(items(4, 4), BULK)
    backlog.push(items(3), INTERACTIVE)
    assert costs(backlog.take(12)) == [3, 4, 4]


def test_bulk_gets_its_share_while_interactive_work_never_ends():
    """A fifth of 1,000 tokens in batches of 10, whatever the size of the items."""
    backlog = Backlog(0.2)
    backlog.push(items(*[7] * 200), BULK)
    backlog.push(items(*[5] * 400), INTERACTIVE)
    taken = [item for _ in range(100) for item in backlog.take(10)]
    bulk = sum(item.cost for item in taken if item.cost == 7)
    assert 180 <= bulk <= 220


def test_a_bulk_item_larger_than_its_share_is_not_starved():
    backlog = Backlog(0.1)
    backlog.push(items(30), BULK)
    backlog.push(items(*[10] * 100), INTERACTIVE)
    batches = [costs(backlog.take(10)) for _ in range(40)]
    assert [30] in batches


def test_a_batch_holds_one_model():
    backlog = Backlog(0.2)
    backlog.push(items(1, 1, model="a"), INTERACTIVE)
    backlog.push(items(1, model="b"), INTERACTIVE)
    backlog.push(items(1, model="a"), INTERACTIVE)
    models = [{i.entry.work.model for i in backlog.take(10)} for _ in range(3)]
    assert models == [{"a"}, {"b"}, {"a"}]


def test_items_whose_caller_has_gone_are_dropped_and_cost_nothing():
    backlog = Backlog(0.2)
    gone = items(9, 9, key=1)
    backlog.push(gone, INTERACTIVE)
    backlog.push(items(8, key=2), INTERACTIVE)
    gone[0].entry.gone = True
    assert costs(backlog.take(10)) == [8]
    assert len(backlog) == 0


lengths = st.lists(st.integers(1, 40), max_size=30)


@given(lengths, lengths, st.integers(1, 30), st.floats(0, 1))
def test_nothing_is_lost_nothing_comes_twice_and_the_budget_holds(
    interactive: list[int], bulk: list[int], budget: int, share: float
):
    backlog = Backlog(share)
    pushed = items(*interactive) + items(*bulk)
    backlog.push(pushed[: len(interactive)], INTERACTIVE)
    backlog.push(pushed[len(interactive) :], BULK)
    seen: list[Item] = []
    while len(backlog):
        batch = backlog.take(budget)
        assert batch, "a batch of waiting work may not be empty"
        assert len(batch) == 1 or sum(costs(batch)) <= budget
        seen += batch
    assert sorted(map(id, seen)) == sorted(map(id, pushed))


@given(lengths, st.integers(1, 30))
def test_inside_a_class_it_is_first_come_first_served(sizes: list[int], budget: int):
    backlog = Backlog(0.2)
    pushed = items(*sizes)
    backlog.push(pushed, BULK)
    seen = []
    while len(backlog):
        seen += backlog.take(budget)
    assert [item.index for item in seen] == list(range(len(sizes)))
