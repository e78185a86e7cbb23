"""The queue's policy, seen through its simulator: virtual time, so figures are facts here."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from benchmarks.queue import report
from benchmarks.queue.__main__ import TRACES, simulate, write
from benchmarks.queue.machines import EVEN, Machine
from benchmarks.queue.simulation import POLICIES, Simulation
from benchmarks.queue.summary import jain, run, summarise
from benchmarks.queue.traces import Day, Deadlines, Greedy, OnOff, Overload, Reindex, Trace

SEED = 1
REINDEX = Reindex(seconds=30)
OVERLOAD = Overload(clients=12, seconds=12, timeout=8)
DEADLINES = Deadlines(seconds=20, probes=0.5)
GREEDY = Greedy(seconds=12, clients=10, in_flight=600)
DAY = Day(seconds=3600, load=0.3)


def finished(trace: Trace, policy: str = "ours") -> Simulation:
    """A trace that was run to its end; looked at by several tests, changed by none."""
    return _finished(trace, policy)


@cache
def _finished(trace: Trace, policy: str) -> Simulation:
    simulation = Simulation(
        policy, trace.machine, seed=SEED, seconds=trace.seconds, probes=trace.probes
    )
    trace.start(simulation)
    simulation.world.run()
    return simulation


def figures(trace: Trace, policy: str = "ours") -> dict:
    return summarise(finished(trace, policy).ledger, trace)


def test_the_same_seed_gives_the_same_figures():
    trace = replace(DEADLINES, seconds=10)
    first, again, other = (run(trace, "ours", seed) for seed in (SEED, SEED, SEED + 1))
    for each in (first, again, other):
        del each["cpu_seconds"]  # the one figure that is measured
    assert first == again != other


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("trace", [OVERLOAD, DEADLINES, DAY], ids=["overload", "deadlines", "day"])
def test_every_request_ends_once(trace: Trace, policy: str):
    """A second end is an assertion of the ledger's; a missing one would show here."""
    ledger = finished(trace, policy).ledger
    for request_class, ends in ledger.ended.items():
        assert ends.total() == ledger.arrived[request_class]
    assert ledger.arrived.total() > 500


@pytest.mark.parametrize("policy", POLICIES)
def test_device_time_is_neither_made_nor_lost(policy: str):
    """What clients got, what was computed too late and the fixed parts are what it was busy."""
    simulation = finished(OVERLOAD, policy)
    ledger = simulation.ledger
    assert ledger.busy_until <= simulation.until
    texts = ledger.busy - ledger.overhead
    answered_later = texts - sum(ledger.work.values()) - ledger.wasted
    assert -0.03 * texts < answered_later  # a forward's time is noise, 5 % of one batch
    assert ledger.busy <= simulation.world.now


def test_nothing_is_held_once_all_is_answered():
    admission = finished(OVERLOAD).policy.admission
    assert admission.held == 0
    assert not list(admission.loads())


def test_a_reindex_does_not_make_people_wait():
    ours, first = (figures(REINDEX, policy)["waits"]["person"] for policy in ("ours", "first"))
    assert first["p99"] > 5 * ours["p99"]
    assert first["p50"] > 5 * ours["p50"]


def test_people_are_let_in_though_one_chunk_of_a_stream_is_more_than_the_queue_takes():
    """On a device that needs 10 ms a token, as Qwen3-0.6B does on two cores."""
    crawling = Machine("crawling", fixed=20_000, per_token=10_000, per_square=0, batch_tokens=2048)
    ours = figures(Reindex(seconds=300, machine=crawling, think_seconds=40))
    assert ours["refusals"] == 0
    assert ours["waits"]["person"]["count"] == ours["arrived"]["person"] > 100


def test_permits_let_a_stream_lock_people_out():
    """They are answered when the stream has ended."""
    assert figures(REINDEX, "permits")["waits"]["person"]["p50"] > 0.5 * REINDEX.seconds


def test_equal_clients_get_equal_parts_of_a_device_that_is_asked_for_too_much():
    ours = figures(OVERLOAD)
    assert ours["least_calls"] >= 20, "fewer say nothing about fairness"
    assert ours["jain"] >= 0.95
    assert ours["goodput"] >= 0.9
    assert ours["offers"] < 2 * ours["single"], "hints keep clients from storming"


def test_who_sends_one_dear_text_at_a_time_gets_no_more_than_its_share():
    """One text above it is what a quantum and one text allow."""
    trace = OnOff(seconds=20)
    ledger = finished(trace).ledger
    fair = sum(ledger.work.values()) / (trace.clients + 1)
    assert ledger.work["dear one"] <= fair + EVEN.text(4000)
    assert finished(trace, "first").ledger.work["dear one"] > 2 * fair


def test_a_greedy_client_costs_the_others_nothing():
    """They ask for less than their share, and wait no longer than beside each other."""
    ours, first = (figures(GREEDY, policy)["waits"]["client"] for policy in ("ours", "first"))
    assert ours["p99"] < 0.5
    assert first["p99"] > 2


def test_nobody_who_keeps_within_a_share_starves():
    """In any trace but for overload the longest wait of people is bounded by what was let in."""
    for trace, kind in ((REINDEX, "person"), (GREEDY, "client")):
        assert figures(trace)["waits"][kind]["p100"] < 1


def test_a_request_denied_for_its_deadline_would_have_missed_it():
    """Some of the denied are let in to see: most are late."""
    ours = figures(DEADLINES)
    denied, ended = ours["denied"], ours["ended"]["interactive"]
    assert ended["expired"] < 0.1 * ended["answered"], "who is let in is hardly ever late"
    assert sum(denied.values()) >= 10
    assert denied["expired"] >= 0.8 * sum(denied.values())


def test_jains_index():
    assert jain([3, 3, 3]) == 1
    assert jain([1, 0, 0, 0]) == 0.25


def test_the_result_can_be_written_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TRACES, "reindex", replace(REINDEX, seconds=2))
    result = simulate(["reindex"], SEED)
    write(result, tmp_path)
    (path,) = tmp_path.glob("*-queue-simulation.json")
    assert "512 permits" in report.markdown(json.loads(path.read_text("utf-8")))


def test_a_run_that_answered_nothing_has_figures():
    simulation = Simulation("ours", EVEN, seed=SEED, seconds=1)
    assert summarise(simulation.ledger, Trace())["waits"] == {}
