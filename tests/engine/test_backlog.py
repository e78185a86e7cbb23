"""What goes into the next batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwire_server.engine.queue.backlog import LATELY, Backlog, BatchLimits
from qwire_server.engine.queue.item import Item
from support.queued import BULK, INTERACTIVE, request

QUIET = LATELY + 1  # microseconds after a question at 0


def backlog(tokens: int = 1_000, launch: int = 10, share: float = 0.2) -> Backlog:
    return Backlog(BatchLimits(tokens, launch, share))


def push(queue: Backlog, *costs: int, now: int = 0, **facts: object) -> list[Item]:
    items = request(*costs, **facts)
    queue.push(items, now)
    return items


def take(queue: Backlog, now: int = 0, overhead: int = 0) -> list[int]:
    return [item.cost for item in queue.take(now, overhead).items]


def test_a_batch_is_the_longest_run_that_fits_in_order():
    queue = backlog()
    push(queue, 4, 5, 3, 1)
    assert take(queue) == [4, 5]
    assert take(queue) == [3, 1]
    assert take(queue) == []


def test_batches_are_short_while_questions_come_and_full_otherwise():
    queue = backlog(tokens=50, launch=10)
    push(queue, *[10] * 20, request_class=BULK)
    assert take(queue) == [10] * 5, "no question was ever seen"
    push(queue, 3)
    assert take(queue) == [3]
    assert take(queue, now=LATELY) == [10], "the next question may come any moment"
    assert take(queue, now=QUIET) == [10] * 5


def test_a_forward_has_a_price_before_its_first_text():
    queue = backlog(launch=10)
    push(queue, 2, 2, 2, 2, 2)
    assert take(queue, overhead=5) == [2, 2]


def test_a_text_larger_than_any_limit_goes_alone():
    queue = backlog(tokens=40)
    push(queue, 2, 50, 2)
    assert [take(queue) for _ in range(3)] == [[2], [50], [2]]


def test_interactive_texts_go_before_bulk_texts_that_came_first():
    queue = backlog(share=0.0)
    push(queue, 10, 10, request_class=BULK)
    push(queue, 3)
    assert take(queue) == [3]
    assert take(queue) == [10]


def test_bulk_fills_up_half_of_a_batch_that_questions_are_in():
    queue = backlog(launch=22, share=0.0)
    push(queue, 4, 4, 4, request_class=BULK)
    push(queue, 3)
    taken = queue.take(0)
    assert [item.cost for item in taken.items] == [3, 4, 4]
    assert taken.fill == 1.0, "of the half that it may have"


def test_bulk_gets_its_share_while_interactive_work_never_ends():
    """A fifth of 1,000 microseconds, though the sizes do not divide."""
    queue = backlog()
    push(queue, *[7] * 200, request_class=BULK)
    push(queue, *[5] * 400)
    taken = [cost for _ in range(100) for cost in take(queue)]
    assert 180 <= sum(cost for cost in taken if cost == 7) * 1000 / sum(taken) <= 220


def test_a_bulk_text_larger_than_its_share_is_not_starved():
    queue = backlog(share=0.1)
    push(queue, 30, request_class=BULK)
    push(queue, *[10] * 100)
    assert [30] in [take(queue) for _ in range(40)]


def test_a_batch_holds_one_model():
    queue = backlog()
    for model in "aba":
        push(queue, 1, model=model)
    models = [{i.entry.work.model for i in queue.take(0).items} for _ in range(3)]
    assert models == [{"a"}, {"b"}, {"a"}]


def test_texts_whose_caller_has_gone_are_dropped_and_take_no_room():
    queue = backlog()
    push(queue, 9, 9)[0].entry.gone = True
    push(queue, 8)
    assert take(queue) == [8]
    assert len(queue) == 0


def test_texts_whose_deadline_has_passed_are_handed_back_and_take_no_room():
    queue = backlog()
    late = push(queue, 9, 9, deadline=1e-6)
    push(queue, 8)
    taken = queue.take(2)
    assert taken.expired == late
    assert [item.cost for item in taken.items] == [8]


def test_fill_is_told_only_of_batches_that_left_work_waiting():
    queue = backlog(launch=10)
    push(queue, 6, 5)
    assert queue.take(0).fill == 0.6
    assert queue.take(0).fill is None


def test_what_waits_is_told_by_class_and_client():
    queue = backlog()
    push(queue, 6, 5, client="a", since=3)
    push(queue, 7, client="b", request_class=BULK, since=4)
    push(queue, 1, client="b", request_class=BULK, since=9)
    seen = {(w.request_class, w.client): (w.texts, w.cost, w.since) for w in queue.waiting()}
    assert seen == {(INTERACTIVE, "a"): (2, 11, 3), (BULK, "b"): (2, 8, 4)}


costs = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(costs, st.sampled_from([INTERACTIVE, BULK]), st.sampled_from("abc"))),
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_nothing_is_lost_nothing_comes_twice_and_the_limits_hold(
    requests: list[tuple[list[int], object, str]], tokens: int, launch: int, share: float
):
    queue = backlog(tokens, launch, share)
    pushed: list[Item] = []
    for number, (sizes, request_class, client) in enumerate(requests):
        pushed += push(queue, *sizes, request_class=request_class, client=client, now=number)
    seen: list[Item] = []
    while queue:
        bound = queue.launch_bound(len(requests)) or 10**9
        batch = queue.take(len(requests)).items
        assert batch, "a batch of waiting work may not be empty"
        assert len(batch) == 1 or sum(item.cost for item in batch) <= min(tokens, bound)
        seen += batch
    assert sorted(map(id, seen)) == sorted(map(id, pushed))


@given(st.floats(0.05, 0.5), costs, costs, st.integers(1, 50))
def test_while_both_classes_wait_neither_falls_behind_its_share_by_more_than_a_batch(
    share: float, interactive: list[int], bulk: list[int], launch: int
):
    queue = backlog(10_000, launch, share)
    push(queue, *interactive * 5)
    push(queue, *bulk * 5, request_class=BULK)
    total = of_bulk = 0
    slack = 2 * max(launch, *interactive, *bulk)
    while {w.request_class for w in queue.waiting()} == {INTERACTIVE, BULK}:
        assert of_bulk >= share * total - slack
        for item in queue.take(0).items:
            total += item.cost
            of_bulk += item.cost * (item.entry.work.request_class is BULK)
