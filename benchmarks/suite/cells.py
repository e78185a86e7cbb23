"""What is measured of a model, most important first, and about how long each takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.suite import beside, reuse, single, throughput
from benchmarks.suite.workloads import BULK, INSTRUCTED, LOG_NORMAL, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite.sizes import Sizes
    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

_OVERHEAD = 3.0  # of a generator's start, and of its texts
_QUESTIONS = 10.5  # until the server forgets that they came
_START = {"cpu": 15.0, "cuda": 150.0}  # both starts, one of them with compiling
_LOADING = {"cpu": 10.0, "cuda": 25.0}  # of a process that loads the model, compiled before


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that is measured.

    Attributes:
        kind: which shape its result has.
        seconds: that it takes, about.
    """

    name: str
    kind: str
    seconds: float
    run: Callable[[Stage], dict[str, Any]]


def cells(device: str, sizes: Sizes, peers: tuple[str, ...]) -> list[Cell]:
    """All of them, in the order in which they are measured."""

    def stream(workload: Workload) -> Cell:
        a_round = _OVERHEAD + sizes.bare + 1.5 * sizes.stream
        if "sentence-transformers" in peers and workload.name in sizes.peer_workloads:
            a_round += 3 * sizes.peer
        seconds = _QUESTIONS / 2 + sizes.rounds * a_round
        run = partial(throughput.measure, workload=workload)
        return Cell(workload.name, "stream", seconds, run)

    def mixed(workload: Workload) -> Cell:
        seconds = 2 * (_OVERHEAD + sizes.warm + sizes.window) + _QUESTIONS / 2
        run = partial(beside.measure, workload=workload)
        return Cell(f"beside-{workload.name}", "beside", seconds, run)

    calling = 2 * (_OVERHEAD + sizes.warm + sizes.window)
    if "infinity" in peers:
        calling *= sizes.single_rounds + sizes.rounds
    first, *others = (stream(uniform(tokens)) for tokens in sizes.lengths)
    first = replace(first, seconds=first.seconds + _LOADING[device])  # of bare forward and peer
    reusing = 2 * (2 * _LOADING[device] + _OVERHEAD + 1.5 * sizes.stream)
    instructed = stream(INSTRUCTED)
    reused = Cell("reuse", "reuse", reusing, reuse.measure)
    callers = Cell("callers", "callers", calling, single.callers)
    alike = [
        Cell("start", "start", _START[device], single.start),
        first,
        Cell("agreement", "agreement", _OVERHEAD, single.agreement),
        Cell("idle", "idle", _OVERHEAD + sizes.questions / 20, single.idle),
    ]
    long = [mixed(uniform(tokens)) for tokens in sizes.long]
    if device == "cpu":
        first_there = [stream(LOG_NORMAL), instructed, reused, callers, mixed(BULK)]
        return [*alike, *first_there, *others, *long]
    # Reuse is off by default there.
    return [*alike, mixed(BULK), stream(LOG_NORMAL), callers, *others, instructed, *long, reused]
