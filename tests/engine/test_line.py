"""Who waits for room, in which order, and how many may."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server.api.room import Held, Room
from qwire_server.engine import clock
from qwire_server.engine.queue.admission import Admission, Asker
from qwire_server.engine.queue.line import PATIENT, Line, Patience, Place, WaitLimits
from qwire_server.engine.queue.quota import Quota, Quotas
from qwire_server.errors import DeadlineExceeded, Overloaded
from support.queued import BULK, INTERACTIVE

SECOND = 1_000_000


def question(client: str = "a") -> Asker:
    return Asker(client, INTERACTIVE)


def job(client: str = "a") -> Asker:
    return Asker(client, BULK)


class Queue:
    """A line before an admission that a first piece of work fills."""

    def __init__(self, bound: int = 100, held: int = 100, **limits: int) -> None:
        self.admission = Admission(bound)
        self.line: Line[str] = Line(self.admission, WaitLimits(**limits))
        self.held = held
        if held:
            self.admission.begin(question("first"), held, now=0)

    def arrive(self, name: str, asker: Asker, cost: int = 10, size: int = 1, **patience) -> Place:
        place = Place(asker, cost, name, size)
        self.line.arrive(place, 0, Patience(**patience))
        return place

    def give_back(self, cost: int) -> list[str]:
        self.admission.change(question("first"), -cost)
        return [place.ticket for place in self.line.let_in(0)]


class TestOrder:
    def test_a_client_gets_in_first_come_first_served(self):
        queue = Queue()
        for name in ("1", "2", "3"):
            queue.arrive(name, question("a"), cost=1)
        assert queue.give_back(50) == ["1", "2", "3"]

    def test_one_request_goes_before_the_second_of_a_greedy_client(self):
        queue = Queue(bound=1000, held=1000)
        for number in range(200):
            queue.arrive(f"greedy {number}", question("greedy"))
        queue.arrive("modest", question("modest"))
        assert queue.give_back(15) == ["greedy 0", "modest"]

    def test_interactive_requests_go_before_bulk_that_came_earlier(self):
        queue = Queue()
        queue.arrive("bulk", job("b"))
        queue.arrive("question", question("q"))
        assert queue.give_back(30)[0] == "question"

    def test_interactive_requests_cannot_keep_bulk_out_for_ever(self):
        queue = Queue(bound=100, held=100)
        for number in range(50):
            queue.arrive(f"q{number}", question(f"q{number}"))
        queue.arrive("bulk", job("b"))
        assert queue.admission.class_held(BULK) == 10, "though the queue is full"

    def test_a_client_that_holds_too_much_holds_up_nobody_else(self):
        queue = Queue(held=0)
        queue.admission.begin(question("greedy"), 60, now=0)
        queue.arrive("second", question("greedy"))
        queue.arrive("other", question("b"))
        assert len(queue.line) == 1
        assert queue.line.let_in(0) == []

    def test_a_newcomer_with_room_does_not_wait_behind_those_who_have_too_much(self):
        queue = Queue(held=0)
        queue.admission.begin(question("greedy"), 60, now=0)
        queue.arrive("second", question("greedy"))
        assert queue.line.arrive(Place(question("b"), 1, "b", 1), 0, PATIENT)


class TestBounds:
    def test_one_client_may_have_half_of_the_places(self):
        queue = Queue(requests=10)
        for number in range(5):
            queue.arrive(str(number), question("greedy"))
        with pytest.raises(
            Overloaded, match=r"5 requests of 5 bytes wait here \(limits 10"
        ) as full:
            queue.arrive("6", question("greedy"))
        assert full.value.retry_after
        queue.arrive("new", question("b"))

    def test_bytes_are_bounded_over_all_clients(self):
        queue = Queue(size=100)
        queue.arrive("a", question("a"), size=50)
        with pytest.raises(Overloaded):
            queue.arrive("b", question("b"), size=51)
        queue.arrive("b", question("b"), size=25)
        assert (queue.line.requests, queue.line.size) == (2, 75)

    def test_streams_do_not_count_and_are_never_refused(self):
        queue = Queue(requests=1, size=1)
        for number in range(10):
            queue.line.join(Place(job("s"), 10, str(number)), 0)
        assert (queue.line.requests, queue.line.size, len(queue.line)) == (0, 0, 10)

    def test_where_nothing_waits_and_there_is_room_a_request_of_any_size_goes_in(self):
        queue = Queue(held=0, size=1)
        assert queue.line.arrive(Place(question(), 10_000, "large", 10**9), 0, PATIENT)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.sampled_from([INTERACTIVE, BULK]),
                st.integers(1, 60),
                st.sampled_from(["join", "leave", "end"]),
            ),
            max_size=60,
        )
    )
    def test_the_books_balance_whoever_comes_and_goes(self, steps):
        queue = Queue(held=0)
        waiting: list[Place] = []
        inside: list[Place] = []
        for client, request_class, cost, what in steps:
            if what == "leave" and waiting:
                queue.line.leave(waiting.pop(0))
            elif what == "end" and inside:
                place = inside.pop()
                queue.admission.end(place.asker, place.cost)
            else:
                place = Place(Asker(client, request_class), cost, "", cost)
                queue.line.join(place, 0)
                waiting.append(place)
            begun = queue.line.let_in(0)
            waiting = [place for place in waiting if place not in begun]
            inside += begun
            assert inside or not waiting, "something waits though nothing is held"
            assert queue.line.size == sum(place.size for place in waiting)
            assert len(queue.line) == queue.line.requests == len(waiting)
            assert queue.admission.held == sum(place.cost for place in inside)
            for asker, load in queue.admission.loads():
                assert load.waiting == sum(p.cost for p in waiting if p.asker == asker)


class TestPatience:
    def test_what_waits_before_a_request_counts_against_its_deadline(self):
        queue = Queue(bound=SECOND, held=SECOND)
        queue.arrive("a", question("a"), cost=SECOND)
        queue.arrive("b", question("b"), cost=SECOND, deadline=2.1 * SECOND)
        with pytest.raises(DeadlineExceeded):
            queue.arrive("c", question("c"), cost=SECOND, deadline=2.1 * SECOND)

    def test_a_strict_caller_is_refused_even_alone_on_an_idle_device(self):
        queue = Queue(held=0)
        queue.arrive("a", question("a"), cost=SECOND, deadline=SECOND / 2, is_strict=True)
        with pytest.raises(DeadlineExceeded):
            queue.admission.check_deadline(
                question("a"), now=0, deadline=SECOND / 2, is_strict=True
            )
        queue.admission.check_deadline(question("a"), now=0, deadline=SECOND / 2)


def room(bound: int = 100) -> Room:
    return Room(Admission(bound), Quotas(lambda _: Quota()))


def fill(busy: Room) -> Held:
    """Work of another client that leaves no room."""
    busy.admission.begin(question("first"), 100, now=0)
    return Held(busy, question("first"), 100)


class TestRoom:
    async def test_a_request_waits_until_there_is_room(self):
        busy = room()
        held = fill(busy)
        waiting = asyncio.create_task(busy.take(question(), 10, 1000, PATIENT))
        await asyncio.sleep(0)
        assert (busy.line.requests, busy.line.size) == (1, 1000)
        held.release()
        (await waiting).release()
        assert (busy.line.requests, busy.admission.held) == (0, 0)

    async def test_a_deadline_that_passes_in_the_line_is_said(self):
        busy = room()
        fill(busy)
        patience = Patience(deadline=clock.now() + 50_000)
        with pytest.raises(DeadlineExceeded, match=r"waited 0\.\d s .* was not computed"):
            await busy.take(question(), 10, 1, patience)
        assert busy.line.requests == 0

    async def test_the_longest_wait_ends_with_a_time_to_come_back(self):
        busy = room()
        fill(busy)
        with pytest.raises(Overloaded) as refused:
            await busy.take(question(), 10, 1, Patience(longest=50_000))
        assert refused.value.retry_after

    @pytest.mark.parametrize("steps", range(4))
    async def test_a_caller_that_leaves_costs_nothing_whenever_it_does(self, steps):
        busy = room()
        held = fill(busy)
        waiting = asyncio.create_task(busy.take(question(), 10, 1, PATIENT))
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps == 3:
            held.release()
        waiting.cancel()
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (busy.line.requests, busy.line.size, busy.admission.held) == (0, 0, 0)
        assert not list(busy.admission.loads())

    async def test_without_a_deadline_a_request_waits_as_long_as_it_takes(self):
        assert Patience().deadline == math.inf
        busy = room()
        held = fill(busy)
        many = [asyncio.create_task(busy.take(question(), 10, 1, PATIENT)) for _ in range(20)]
        await asyncio.sleep(0)
        held.release()
        for task in many:
            (await asyncio.wait_for(task, 10)).release()
