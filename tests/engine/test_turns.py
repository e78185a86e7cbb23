"""Turns of clients inside a class."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from qwire_server.engine.queue.item import Item
from qwire_server.engine.queue.turns import Turns
from support.queued import request


def drain(turns: Turns, most: int = 10**9) -> list[Item]:
    """Take texts one after the other."""
    taken: list[Item] = []
    while len(taken) < most and (item := turns.next(0, [])):
        turns.pop()
        taken.append(item)
    return taken


def clients(items: list[Item]) -> str:
    return "".join(item.entry.work.client for item in items)


def test_clients_take_turns_however_much_each_has_waiting():
    turns = Turns(quantum=10)
    turns.push("a", request(*[10] * 6, client="a"))
    turns.push("b", request(*[10] * 2, client="b"))
    assert clients(drain(turns)) == "ababaaaa"


def test_a_quantum_holds_several_cheap_texts():
    turns = Turns(quantum=10)
    turns.push("a", request(*[10] * 3, client="a"))
    turns.push("b", request(*[5] * 6, client="b"))
    assert clients(drain(turns)) == "abbabbabb"


def test_a_client_whose_text_costs_several_quanta_sits_out_the_rounds_it_owes():
    turns = Turns(quantum=10)
    turns.push("a", request(30, 30, client="a"))
    turns.push("b", request(*[10] * 5, client="b"))
    assert clients(drain(turns)) == "abbbabb"


def test_a_debt_is_remembered_while_nothing_waits():
    """One dear text at a time gets a client no more than a long line would."""
    turns = Turns(quantum=10)
    turns.push("b", request(*[10] * 20, client="b"))
    order = ""
    for _ in range(8):
        if order.count("a") < 3 and all(client != "a" for client, *_ in turns.summary()):
            turns.push("a", request(30, client="a"))
        order += clients(drain(turns, 1))
    assert order == "babbbabb"


def test_who_had_nothing_waiting_has_saved_nothing():
    """A client that comes late takes turns from then on, and does not catch up."""
    turns = Turns(quantum=10)
    turns.push("a", request(*[10] * 10, client="a"))
    drain(turns, 4)
    turns.push("b", request(*[10] * 4, client="b"))
    assert clients(drain(turns)) == "babababa" + "aa"


def test_a_text_without_a_caller_costs_its_client_nothing():
    turns = Turns(quantum=10)
    dead, live = request(1000, 1000, client="a"), request(10, client="a")
    dead[0].entry.gone = True
    turns.push("a", dead)
    turns.push("a", live)
    turns.push("b", request(10, 10, client="b"))
    assert clients(drain(turns)) == "abb"


def test_an_expired_text_is_handed_back_and_costs_its_client_nothing():
    turns = Turns(quantum=10)
    late = request(1000, client="a", deadline=1.0)
    turns.push("a", late)
    turns.push("a", request(10, client="a"))
    expired: list[Item] = []
    item = turns.next(1_000_000, expired)
    assert expired == late
    assert item is not None
    assert item.cost == 10


pushes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.lists(st.integers(1, 50), min_size=1, max_size=8)),
    max_size=20,
)


@given(pushes, st.integers(1, 60), st.lists(st.integers(0, 5), max_size=20))
def test_nothing_is_lost_nothing_comes_twice_and_each_client_is_served_in_order(
    pushed: list[tuple[str, list[int]]], quantum: int, takes: list[int]
):
    turns = Turns(quantum)
    given_in: dict[str, list[Item]] = {}
    taken: list[Item] = []
    for number, (client, costs) in enumerate(pushed):
        items = request(*costs, client=client)
        given_in.setdefault(client, []).extend(items)
        turns.push(client, items)
        taken += drain(turns, takes[number] if number < len(takes) else 0)
    taken += drain(turns)
    assert not turns
    for client, items in given_in.items():
        assert [i for i in taken if i.entry.work.client == client] == items
    assert len(taken) == sum(map(len, given_in.values()))


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 80), min_size=2),
    st.integers(1, 100),
    st.integers(1, 200),
)
def test_clients_that_all_wait_differ_by_a_quantum_and_a_text_at_most(
    cost_of: dict[str, int], quantum: int, steps: int
):
    """At any moment, between any two of them."""
    turns = Turns(quantum)
    for client, cost in cost_of.items():
        turns.push(client, request(*[cost] * (steps + 1), client=client))
    spent: Counter[str] = Counter()
    for _ in range(steps):
        (item,) = drain(turns, 1)
        spent[item.entry.work.client] += item.cost
        for a, of_a in cost_of.items():
            for b, of_b in cost_of.items():
                assert abs(spent[a] - spent[b]) <= quantum + max(of_a, of_b)


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 300))
def test_a_newcomer_waits_for_a_quantum_and_a_text_of_each_other_at_most(
    others: int, cost: int, steps: int
):
    """However long their lines are."""
    quantum = 50
    turns = Turns(quantum)
    for n in range(others):
        turns.push(str(n), request(*[cost] * 500, client=str(n)))
    drain(turns, steps)
    turns.push("new", request(1, client="new"))
    before = 0
    while (item := turns.next(0, [])) and item.entry.work.client != "new":
        turns.pop()
        before += item.cost
    assert before <= others * (quantum + cost)
