"""One run in figures: plain data that a table, a plot and a test read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.queue.request import End
from benchmarks.queue.simulation import POLICIES, Simulation
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.queue.ledger import Ledger
    from benchmarks.queue.traces import Trace

_POINTS = (0, 1, 2, 5, *range(10, 91, 5), 92.5, 95, 97, 98, 99, 99.5, 99.9, 100)


def run(trace: Trace, policy: str, seed: int) -> dict[str, Any]:
    """Let a trace happen; see `summarise`. `cpu_seconds` is the only figure that varies."""
    simulation = Simulation(
        policy, trace.machine, seed=seed, seconds=trace.seconds, probes=trace.probes
    )
    trace.start(simulation)
    began = time.process_time()
    simulation.world.run()
    took = time.process_time() - began
    return {**summarise(simulation.ledger, trace), "cpu_seconds": round(took, 2)}


def run_all(trace: Trace, seed: int) -> dict[str, Any]:
    """A trace under every policy."""
    return {policy: run(trace, policy, seed) for policy in POLICIES}


def summarise(ledger: Ledger, trace: Trace) -> dict[str, Any]:
    """Shares are parts of the device's time while clients sent, waits are in seconds."""
    until = ledger.until
    work = {c.name.lower(): ledger.class_work[c] / until for c in RequestClass}
    shared = [ledger.work[name] for name in trace.equals()] if trace.equals() else []
    return {
        "arrived": dict(sorted(ledger.kinds.items())),
        "single": ledger.arrived[RequestClass.INTERACTIVE],
        "ended": {
            c.name.lower(): {end.value: ledger.ended[c][end] for end in End if ledger.ended[c][end]}
            for c in RequestClass
            if ledger.arrived[c]
        },
        "waits": {kind: _spread(waits) for kind, waits in sorted(ledger.waits.items())},
        "work": work,
        "goodput": sum(work.values()),
        "busy": ledger.busy_until / until,
        "overhead": ledger.overhead / max(1, ledger.busy),
        "wasted_seconds": ledger.wasted / 1e6,
        "jain": jain(shared) if shared else None,
        "least_calls": min((ledger.calls[name] for name in trace.equals()), default=None),
        "largest_share": max(ledger.work.values(), default=0) / max(1, sum(ledger.work.values())),
        "offers": ledger.offers,
        "refusals": ledger.refusals,
        "returns": ledger.returns,
        "let_in_on_return": ledger.let_in_on_return,
        "batches": ledger.batches,
        "fill": float(np.mean(ledger.fills)) if ledger.fills else None,
        "denied": {end.value: count for end, count in ledger.probes.items()},
    }


def jain(shares: Iterable[float]) -> float:
    """Jain's index: 1 if all are equal, 1/n if one has everything."""
    values = np.fromiter(shares, float)
    square = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * square) if square else 1.0


def _spread(waits: Iterable[float]) -> dict[str, Any]:
    """Percentiles in seconds."""
    values = np.fromiter(waits, float) / 1e6
    points = np.percentile(values, _POINTS)
    return {
        "count": len(values),
        **{f"p{p:g}": round(float(v), 6) for p, v in zip(_POINTS, points, strict=True)},
    }
