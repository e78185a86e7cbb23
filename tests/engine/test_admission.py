"""Who is let in."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.api.room import Held, Room
from qwire_server.engine.queue.admission import Admission, Asker
from qwire_server.engine.queue.quota import Quota, Quotas
from qwire_server.errors import DeadlineExceeded, Overloaded
from support.queued import BULK, INTERACTIVE

NEVER = float("inf")
SECOND = 1_000_000


def question(client: str = "a") -> Asker:
    return Asker(client, INTERACTIVE)


def job(client: str = "a") -> Asker:
    return Asker(client, BULK)


def admit(
    admission: Admission, asker: Asker, cost: int, now: int = 0, deadline: float = NEVER
) -> None:
    """What `Line.arrive` does with a request that may not wait."""
    admission.check_arrival(asker, cost, now=now, deadline=deadline)
    if not admission.has_room(asker):
        raise admission.overloaded(asker, cost, "full", now=now)
    admission.begin(asker, cost, now=now)


def hold(busy: Room, asker: Asker, cost: int) -> Held:
    """Room that is held, whether there is any or not."""
    busy.admission.begin(asker, cost, now=0)
    return Held(busy, asker, cost)


def room(bound: int = 100, quota: Quota | None = None) -> Room:
    limits = quota or Quota()
    return Room(Admission(bound), Quotas(lambda _: limits))


class TestBounds:
    def test_one_client_may_hold_as_much_as_is_free(self):
        admission = Admission(100)
        for _ in range(5):
            admit(admission, question(), 10)
        with pytest.raises(Overloaded):
            admit(admission, question(), 10)

    def test_however_many_are_greedy_a_newcomer_finds_room(self):
        admission = Admission(1000)
        for _ in range(1000):
            for client in "abcdefgh":
                if admission.has_room(question(client)):
                    admit(admission, question(client), 1)
        assert 800 <= admission.held < 1000
        admit(admission, question("new"), 1)

    def test_greedy_clients_end_up_with_equal_parts(self):
        admission = Admission(1000)
        held: Counter[str] = Counter()
        for _ in range(1000):
            for client in "abcd":
                if admission.has_room(question(client)):
                    admit(admission, question(client), 1)
                    held[client] += 1
        assert max(held.values()) - min(held.values()) <= 1

    def test_what_is_above_three_quarters_only_questions_may_hold(self):
        admission = Admission(1000)
        for n in range(1000):
            if admission.has_room(job(str(n))):
                admit(admission, job(str(n)), 1)
        assert admission.held == 750
        admit(admission, question("q"), 1)

    def test_a_clients_own_bulk_does_not_lock_its_questions_out(self):
        """One host that re-indexes and asks; its one chunk is more than the queue takes."""
        admission = Admission(100)
        admit(admission, job("a"), 10_000)
        admit(admission, question("a"), 10)
        with pytest.raises(Overloaded):
            admit(admission, job("a"), 10)

    def test_a_request_larger_than_the_queue_is_let_in_when_there_is_room_at_all(self):
        admission = Admission(100)
        admit(admission, question(), 10)
        admit(admission, question("b"), 10_000)

    def test_what_was_given_back_can_be_held_again(self):
        admission = Admission(100)
        admit(admission, question(), 100)
        assert not admission.has_room(question("b"))
        admission.end(question(), 100)
        assert not list(admission.loads())
        admit(admission, question("b"), 100)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.sampled_from([INTERACTIVE, BULK]),
                st.integers(1, 60),
                st.booleans(),
            ),
            max_size=60,
        )
    )
    def test_the_books_balance_and_overshoot_is_one_request_of_each_class_at_most(
        self, steps: list[tuple[str, object, int, bool]]
    ):
        admission = Admission(100)
        live: list[tuple[Asker, int]] = []
        for client, request_class, cost, back in steps:
            asker = Asker(client, request_class)
            if back and live:
                whose, held = live.pop()
                admission.end(whose, held)
            try:
                admit(admission, asker, cost)
            except Overloaded:
                assert live, "an empty queue refused"
            else:
                live.append((asker, cost))
            assert admission.held == sum(cost for _, cost in live) < 100 + 2 * 60
            by_class = Counter[object]()
            for whose, held in live:
                by_class[whose.request_class] += held
            assert all(admission.class_held(c) == by_class[c] for c in (INTERACTIVE, BULK))


class TestHints:
    def test_the_first_refused_returns_when_there_should_be_room(self):
        admission = Admission(SECOND)
        admit(admission, question("a"), 3 * SECOND)
        with pytest.raises(Overloaded) as refusal:
            admit(admission, question("b"), 1000)
        assert refusal.value.retry_after == pytest.approx(2.0)

    def test_the_refused_return_one_after_the_other_as_fast_as_the_device_works(self):
        admission = Admission(SECOND)
        admit(admission, question("a"), 2 * SECOND)
        hints = []
        for n in range(5):
            with pytest.raises(Overloaded) as refusal:
                admit(admission, question(f"c{n}"), SECOND // 10)
            hints.append(refusal.value.retry_after)
        assert hints == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])

    def test_a_hint_is_never_longer_than_half_a_minute(self):
        admission = Admission(SECOND)
        admit(admission, question("a"), 1000 * SECOND)
        for n in range(50):
            with pytest.raises(Overloaded) as refusal:
                admit(admission, question(f"c{n}"), 10 * SECOND)
            assert refusal.value.retry_after <= 30


class TestDeadlines:
    def test_what_waits_before_a_request_decides(self):
        admission = Admission(10 * SECOND)
        admit(admission, question("a"), SECOND)
        admit(admission, question("b"), SECOND)
        with pytest.raises(DeadlineExceeded, match=r"takes 2\.000 s"):
            admit(admission, question("c"), 5 * SECOND, now=0, deadline=1.9 * SECOND)
        admit(admission, question("c"), 5 * SECOND, now=0, deadline=2.1 * SECOND)

    def test_clients_take_turns_so_a_small_request_waits_for_little_of_a_large_one(self):
        admission = Admission(10 * SECOND)
        admit(admission, question("a"), 4 * SECOND)
        admit(admission, question("b"), 1000, deadline=10_000)

    def test_bulk_waits_for_all_questions_and_questions_for_no_bulk(self):
        admission = Admission(100 * SECOND)
        admit(admission, job("a"), SECOND)
        admit(admission, question("b"), 2 * SECOND, deadline=1)
        with pytest.raises(DeadlineExceeded):
            admit(admission, job("c"), 1, deadline=2 * SECOND - 1)

    def test_once_its_tokens_are_known_its_own_cost_counts(self):
        admission = Admission(10 * SECOND)
        admit(admission, question("a"), SECOND)
        admit(admission, question("b"), 1000, deadline=SECOND // 2)
        admission.change(question("b"), SECOND)
        with pytest.raises(DeadlineExceeded):
            admission.check_deadline(question("b"), now=0, deadline=SECOND // 2)

    def test_what_comes_later_and_goes_first_shows_in_the_rate_at_which_a_client_is_served(self):
        """A tenth of the device is what this client got: its second of work takes ten."""
        admission = Admission(100 * SECOND)
        admit(admission, question("a"), 2 * SECOND)
        admit(admission, question("b"), 3 * SECOND)
        for tenth in range(1, 11):
            admission.answered(question("a"), SECOND // 10, now=tenth * SECOND)
        with pytest.raises(DeadlineExceeded, match=r"takes \d+\.\d+ s"):
            admission.check_deadline(question("a"), now=10 * SECOND, deadline=15 * SECOND)
        admission.check_deadline(question("a"), now=10 * SECOND, deadline=25 * SECOND)

    def test_on_an_idle_device_a_request_is_tried_whatever_the_estimate(self):
        """Else an estimate that is far too high would never be corrected."""
        admission = Admission(SECOND)
        admit(admission, question(), 100 * SECOND, deadline=1)
        admission.check_deadline(question(), now=0, deadline=1)


class TestQuotas:
    def test_tokens_are_earned_evenly_and_the_hint_is_exact(self):
        one = room(quota=Quota(tokens_per_minute=600))
        quotas = one.quotas
        quotas.check("a", 0)
        quotas.charge("a", 650, 0)
        wait = quotas.wait("a", 0)
        assert wait == pytest.approx(5.1 * SECOND, abs=10)  # 50 owed and 1 more, 10 a second
        assert quotas.wait("a", wait) == 0
        assert quotas.wait("b", 0) == 0

    def test_no_more_than_a_minutes_worth_is_saved(self):
        quotas = room(quota=Quota(tokens_per_minute=600)).quotas
        quotas.check("a", 0)
        quotas.check("a", 3600 * SECOND)
        quotas.charge("a", 600, 3600 * SECOND)
        assert quotas.wait("a", 3600 * SECOND) > 0

    def test_thousands_of_idle_clients_are_forgotten_and_debtors_are_not(self):
        quotas = room(quota=Quota(tokens_per_minute=600)).quotas
        quotas.charge("debtor", 10_000, 0)
        for n in range(5000):
            quotas.check(f"client {n}", 0)
        assert int(repr(quotas).split()[1]) <= 1025
        assert quotas.wait("debtor", 0) > 0


class TestStreams:
    async def test_streams_wait_for_room_first_come_first_served(self):
        busy = room()
        held = hold(busy, question("q"), 80)
        order: list[str] = []

        async def stream(name: str, cost: int) -> None:
            await busy.wait(job(name), cost)
            order.append(name)

        waiting = []
        for name, cost in [("large", 70), ("small", 5)]:
            waiting.append(asyncio.create_task(stream(name, cost)))
            await asyncio.sleep(0)
        assert order == []
        held.release()
        await asyncio.gather(*waiting)
        assert order == ["large", "small"]

    async def test_a_stream_at_its_clients_limit_holds_up_no_other_client(self):
        busy = room(1000)
        await busy.wait(job("a"), 400)
        greedy = asyncio.create_task(busy.wait(job("a"), 10))
        await asyncio.sleep(0)
        assert not greedy.done()
        await asyncio.wait_for(busy.wait(job("b"), 10), 1)
        greedy.cancel()

    async def test_a_chunk_that_stops_waiting_holds_nothing(self):
        busy = room()
        held = hold(busy, question("q"), 100)
        waiting = asyncio.create_task(busy.wait(job(), 50))
        await asyncio.sleep(0)
        held.release()  # gives it room, before it has run again
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert busy.admission.held == 0
        busy.let_in()
        assert repr(busy).endswith("0 wait>")

    async def test_a_chunk_that_stopped_waiting_before_there_was_room_is_not_let_in(self):
        busy = room()
        held = hold(busy, question("q"), 100)
        waiting = asyncio.create_task(busy.wait(job(), 50))
        await asyncio.sleep(0)
        waiting.cancel()
        held.release()  # before the task has seen that it was cancelled
        assert busy.admission.held == 0
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert repr(busy).endswith("0 wait>")

    async def test_a_chunk_larger_than_the_queue_is_let_in(self):
        await asyncio.wait_for(room().wait(job(), 300), 1)

    async def test_a_stream_over_its_quota_is_slowed_and_not_refused(self):
        slow = room(quota=Quota(tokens_per_minute=60_000))
        held = await slow.wait(job(), 1)
        held.change(1, 60_100)
        began = asyncio.get_running_loop().time()
        await slow.wait(job(), 1)
        assert asyncio.get_running_loop().time() - began >= 0.1

    def test_nothing_is_given_back_twice(self):
        busy = room()
        held: Held = hold(busy, question(), 60)
        held.answered(20)
        held.release()
        held.release()
        assert busy.admission.held == 0

    def test_an_estimate_is_replaced_by_the_true_cost(self):
        busy = room()
        held = hold(busy, question(), 80)
        held.change(10, 10)
        assert busy.admission.held == 10
        held.release()
        assert busy.admission.held == 0
