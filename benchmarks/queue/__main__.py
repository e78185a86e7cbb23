"""Simulates the queue: `make simulate`, or `python -m benchmarks.queue [--only TRACE ...]`.

Prints a table for each trace; writes JSON, and a plot where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.queue import plot, report
from benchmarks.queue.simulation import POLICIES
from benchmarks.queue.summary import run_all
from benchmarks.queue.traces import (
    Day,
    Deadlines,
    Greedy,
    Mixed,
    OnOff,
    Overload,
    Reindex,
    Trace,
)
from benchmarks.save import RESULTS, save

SEED = 20261
TRACES: dict[str, Trace] = {
    "reindex": Reindex(),
    "mixed": Mixed(),
    "day": Day(),
    "overload-100": Overload(clients=100, title="100 clients, three times too much"),
    "overload-1000": Overload(
        clients=1000, seconds=200, title="1,000 clients, three times too much"
    ),
    "greedy": Greedy(),
    "dear": OnOff(),
    "deadlines": Deadlines(),
}


def main() -> None:
    """Simulate what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TRACES, default=list(TRACES), metavar="TRACE")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    result = simulate(chosen.only, chosen.seed)
    print(report.markdown(result))
    write(result, chosen.out)


def simulate(names: list[str], seed: int) -> dict[str, Any]:
    """Traces by name, one after the other, each under every policy."""
    result: dict[str, Any] = {
        **machine.about(),
        "seed": seed,
        "policies": POLICIES,
        "traces": {},
    }
    for name in names:
        print(f"simulating: {name}", file=sys.stderr, flush=True)
        trace = TRACES[name]
        runs = run_all(trace, seed)
        result["traces"][name] = {"title": trace.title, "parameters": asdict(trace), "runs": runs}
    traces = [TRACES[name] for name in names]
    result["virtual_seconds"] = len(POLICIES) * sum(trace.seconds for trace in traces)
    result["cpu_seconds"] = sum(
        run["cpu_seconds"] for trace in result["traces"].values() for run in trace["runs"].values()
    )
    return result


def write(result: dict[str, Any], folder: Path) -> None:
    """Write `<date>-queue-simulation.json`, and `.png` beside it."""
    path = save(result, folder, f"{result['date'][:10]}-queue-simulation")
    if not plot.draw(result, path.with_suffix(".png")):
        print('no plot: pip install "qwire[bench]"', file=sys.stderr)


if __name__ == "__main__":
    main()
