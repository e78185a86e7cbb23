"""Short queries behind an instruction, computed once or for each: `python -m benchmarks.prefix`.

The shape of Qwen3-0.6B with random weights, fp32, on the CPU. Ways take turns, round after round:

    shared      the bare packed forward with prefixes, in this process
    whole       the same without
    client      `Client.embed` from a server with its defaults, but for the dtype
    st_arrival  sentence-transformers, its default batch filled in arrival order
    st_best     the same at its best batch size on a list sorted by length

All get the same tokens. Beside the rates: tokens computed for a query, one query alone, and how far
the vectors are apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine, process, texts
from benchmarks.rounds import digits, interleave, ratio, spread
from benchmarks.save import RESULTS, save, stem

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.local import PackedForward
    from benchmarks.ways import Peer
    from qwire import Client

    Ways = dict[str, Callable[[list[str]], Any]]

_LONGER = (
    "Instruct: Given a question of a customer that has to do with a flight, a refund, an order or "
    "a payment, find the paragraph of the service agreement that would answer it\nQuery:"
)
_BATCH_SIZES = (16, 32, 64)
_OFTEN_ALONE = 10


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prefix", description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 28], help="of 28; each anew")
    parser.add_argument(
        "--queries", type=int, default=256, help="fewer where there are more layers"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120, help="of the rounds of one case")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    cases = [
        case
        for layers in chosen.layers
        for case in measure(layers, chosen.queries, chosen.rounds, chosen.seconds)
    ]
    about = {**machine.about(), "words": "4 to 17, uniform"}
    about["machine"]["used_by_others"] = neighbours.share()
    print(table(cases))
    save({"about": about, "cases": cases}, chosen.out, stem(about) + "-prefix")


def measure(layers: int, count: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """One model, with its own instruction and with a longer one."""
    # Torch, which reads the environment that `main` sets.
    from benchmarks.local import PackedForward  # noqa: PLC0415
    from benchmarks.shaped import qwen3_shaped  # noqa: PLC0415
    from benchmarks.ways import Peer  # noqa: PLC0415
    from qwire import Client  # noqa: PLC0415

    queries = texts.short_queries(max(8, count * 4 // max(4, layers)))
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        model = str(qwen3_shaped(Path(folder) / "qwen3-shaped", layers))
        flags = ["--model", model, "--grpc-port", "0", "--http-port", "off"]
        flags += ["--device", "cpu", "--dtype", "float32"]
        with process.ServerProcess(["qwire_server", *flags]) as server:
            bare, peer = PackedForward(model, machine.cores()), Peer(model)
            with Client(server.target()) as client:
                for prompt in (bare.served.prompts.query, _LONGER):
                    prompted = [prompt + query for query in queries]
                    tried = peer.find_best_batch(prompted, _BATCH_SIZES)
                    found = _race(_ways(prompt, bare, client, peer), queries, rounds, seconds)
                    facts = _tokens(prompt, queries, bare, peer)
                    cases.append({"layers": layers, **facts, "batch_sizes": tried, **found})
    return cases


def _ways(prompt: str, bare: PackedForward, client: Client, peer: Peer) -> Ways:
    instruction = prompt.removeprefix("Instruct: ").removesuffix("\nQuery:")
    of_peer = {name: way for name, way in peer.ways().items() if name != "st_list"}
    return {
        "shared": lambda queries: bare.prompted(queries, prompt),
        "whole": lambda queries: bare.prompted(queries, prompt, whole=True),
        "client": lambda queries: client.embed(queries, instruction=instruction).vectors,
        **{name: partial(_behind, prompt, way) for name, way in of_peer.items()},
    }


def _race(ways: Ways, queries: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    for name in ("shared", "client"):  # a prefix is kept from its second batch on
        ways[name](queries)
    vectors = {name: np.asarray(way(queries)) for name, way in ways.items()}
    alone = {name: _alone(way, queries) for name, way in ways.items()}
    turns = {name: partial(_run, way, queries) for name, way in ways.items()}
    rates = interleave(turns, rounds=rounds, seconds=seconds)
    return {
        "queries_per_second": {name: spread(of_it) for name, of_it in rates.items()},
        "shared_over": {n: ratio(rates["shared"], r) for n, r in rates.items() if n != "shared"},
        "client_over": {n: ratio(rates["client"], r) for n, r in rates.items() if "st_" in n},
        "one_query_ms": alone,
        "largest_difference_to_whole": {
            name: float(f"{np.abs(rows - vectors['whole']).max():.2g}")
            for name, rows in vectors.items()
        },
    }


def _tokens(prompt: str, queries: list[str], bare: PackedForward, peer: Peer) -> dict[str, Any]:
    """Of a query: all, and those that each way computes once the instruction is known."""
    tokens = bare.tokens([prompt + query for query in queries])
    computed = dict(peer.padded(tokens))
    for name, whole in {"shared": False, "whole": True}.items():
        before = bare.computed
        bare.prompted(queries, prompt, whole=whole)
        computed[name] = bare.computed - before
    return {
        "queries": len(queries),
        "instruction_tokens": bare.tokens([prompt])[0] - 1,  # but for the one at the end
        "tokens_per_query": digits(statistics.mean(tokens)),
        "computed_per_query": {name: digits(n / len(queries)) for name, n in computed.items()},
        "best_batch": peer.best_batch,
    }


def _behind(prompt: str, way: Callable[[list[str]], Any], queries: list[str]) -> Any:
    return way([prompt + query for query in queries])


def _run(way: Callable[[list[str]], Any], queries: list[str]) -> int:
    return len(way(queries))


def _alone(way: Callable[[list[str]], Any], queries: list[str]) -> float:
    """Milliseconds of one query with nothing beside it, median."""
    taken = []
    for query in queries[:_OFTEN_ALONE]:
        began = time.perf_counter()
        way([query])
        taken.append((time.perf_counter() - began) * 1000)
    return digits(statistics.median(taken))


def table(cases: list[dict[str, Any]]) -> str:
    """For the terminal, and for a README."""
    lines = []
    for case in cases:
        lines.append(
            f"{case['layers']} of 28 layers, {case['queries']} queries of "
            f"{case['tokens_per_query']} tokens, {case['instruction_tokens']} of them instruction\n"
        )
        lines.append("| | tokens computed a query | queries/s | min to max | one query, ms |")
        lines.append("| --- | --: | --: | --: | --: |")
        for name, rates in case["queries_per_second"].items():
            computed = case["computed_per_query"].get(name, "")
            lines.append(
                f"| {name} | {computed} | {rates['median']} | {rates['min']} to {rates['max']} | "
                f"{case['one_query_ms'][name]} |"
            )
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
