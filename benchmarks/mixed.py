"""A bulk stream beside people's questions, demo model: `python -m benchmarks.mixed`.

Four situations take turns, round after round:

    alone     the stream, and nobody asks
    fifo      questions at a steady rate in the stream's own class and line: first come, first
              served, as servers without classes do it
    fair      the same questions under the server's own policy and defaults
    shorter   the same with --launch-ms 15, a GPU's default: emptier batches, earlier answers

The first three have one server, the last another. Reports what the stream keeps of its lone speed,
and how long questions take.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, process, texts
from benchmarks.rounds import digits, percentile, spread
from benchmarks.save import RESULTS, save, stem
from benchmarks.sizes import SEED
from qwire import Client

# In this order: `shorter`, at its own server, lets the first one forget that questions came.
_CLASS = {"alone": None, "fifo": "bulk", "fair": "interactive", "shorter": "interactive"}
_SERVER = ["qwire_server", "--model", "demo", "--dtype", "float32"]
_COMMAND = [*_SERVER, "--grpc-port", "0", "--http-port", "off"]
_WARM_SECONDS = 2.0


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of each situation")
    parser.add_argument("--rate", type=float, default=2, help="questions a second")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in _CLASS}
    with (
        process.ServerProcess(_COMMAND) as server,
        process.ServerProcess([*_COMMAND, "--launch-ms", "15"]) as other,
    ):
        targets = {"shorter": other.target()}
        for number in range(chosen.rounds):
            for name in _CLASS:
                target = targets.get(name) or server.target()
                rounds[name].append(situation(name, target, chosen.seconds, chosen.rate, number))
    result = {
        "about": {
            **machine.about(),
            "questions_per_second": chosen.rate,
            "seconds": chosen.seconds,
            "lengths": texts.DISTRIBUTION,
        },
        "situations": {name: summary(of_it, rounds["alone"]) for name, of_it in rounds.items()},
    }
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-mixed")


def situation(name: str, target: str, seconds: float, rate: float, number: int) -> dict[str, Any]:
    """One stream, perhaps questions."""
    stop = threading.Event()
    streaming = threading.Thread(target=_stream, args=(target, stop))
    streaming.start()
    try:
        return _watch(target, _CLASS[name], seconds, rate, random.Random(SEED + number))
    finally:
        stop.set()
        streaming.join()


def _watch(
    target: str, asked_as: str | None, seconds: float, rate: float, draw: random.Random
) -> dict[str, Any]:
    taken: list[float] = []
    with Client(target) as client:

        def ask_for(duration: float) -> None:
            until = time.monotonic() + duration
            at = time.monotonic() + draw.expovariate(rate)
            while max(at, time.monotonic()) < until:
                time.sleep(max(0.0, at - time.monotonic()))
                if asked_as is not None:
                    began = time.perf_counter()
                    client.embed([texts.QUERY], input_type="query", request_class=asked_as)
                    taken.append((time.perf_counter() - began) * 1000)
                at += draw.expovariate(rate)
            time.sleep(max(0.0, until - time.monotonic()))

        (query_tokens,) = client.count_tokens([texts.QUERY], input_type="query").tokens
        ask_for(_WARM_SECONDS)
        taken.clear()
        before, began = client.stats(), time.perf_counter()
        ask_for(seconds)
        after, passed = client.stats(), time.perf_counter() - began
    asked = len(taken) if asked_as == "bulk" else 0  # counted as bulk by the server
    bulk = after.bulk_tokens - before.bulk_tokens - asked * int(query_tokens)
    return {"bulk_tokens_per_second": bulk / passed, "ms": taken, "batch_fill": after.batch_fill}


def _stream(target: str, stop: threading.Event) -> None:
    with Client(target) as client:
        for _ in client.embed_stream(itertools.cycle(texts.log_normal(2048))):
            if stop.is_set():
                return  # which cancels what is in flight


def summary(rounds: list[dict[str, Any]], alone: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; questions of all rounds together."""
    speeds = [one["bulk_tokens_per_second"] for one in rounds]
    kept = [s / a["bulk_tokens_per_second"] for s, a in zip(speeds, alone, strict=True)]
    taken = [ms for one in rounds for ms in one["ms"]]
    found: dict[str, Any] = {"bulk_tokens_per_second": spread(speeds), "bulk_kept": spread(kept)}
    if taken:
        found["questions"] = len(taken)
        found["ms"] = {f"p{p}": percentile(taken, p) for p in (50, 90, 99)}
        found["ms"]["mean"] = digits(statistics.mean(taken))
        found["batch_fill"] = digits(statistics.median(one["batch_fill"] for one in rounds))
    return found


def table(result: dict[str, Any]) -> str:
    """For the terminal, and for a README."""
    lines = [
        "| | bulk tokens/s | of alone | question p50 | p99 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in result["situations"].items():
        ms = found.get("ms", {})
        lines.append(
            f"| {name} | {found['bulk_tokens_per_second']['median']:,.0f} | "
            f"{found['bulk_kept']['median']:.2f} | "
            + (f"{ms['p50']:.0f} ms | {ms['p99']:.0f} ms |" if ms else "| |")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
