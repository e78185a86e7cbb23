"""Runs the suite: `make bench-gpu`, `make bench-cpu`, or `python -m benchmarks.suite`.

Cells are measured in the order of their importance until the time is over; each is written to the
result as soon as it is known, and what is left out is named there. Prints the tables; writes JSON,
and a plot where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, process
from benchmarks.save import RESULTS, stem, write
from benchmarks.shapes import QWEN3
from benchmarks.suite import gpu, infinity, plot, sizes, table
from benchmarks.suite.cells import cells
from benchmarks.suite.run import Asked, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.suite.cells import Cell

_PEERS = ("sentence-transformers", "infinity")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the command line names."""
    chosen = _arguments(argv)
    process.settle(machine.cores(), spin=False)
    with tempfile.TemporaryDirectory() as compiled:
        # Empty at first, so that the first start compiles; full from then on.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
        result = measure(chosen)
    print(table.markdown(result))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All models, one after the other; the result is also on disk, after every cell."""
    neighbours, device = machine.Neighbours(), chosen.device
    wanted = sizes.of(device, quick=chosen.quick, rate=chosen.rate)
    if "infinity" in chosen.peers:
        _say("infinity: its environment, made once")
        infinity.environment()
    listed = _chosen(cells(device, wanted, tuple(chosen.peers)), chosen.only)
    result = _about(chosen)
    path = chosen.out / _name(result, chosen)
    until = time.monotonic() + chosen.minutes * 60
    for number, model in enumerate(chosen.model):
        asked = Asked(
            model=model,
            layers=chosen.layers,
            device=device,
            flags=tuple(chosen.flag),
            peers=tuple(chosen.peers),
            small=chosen.quick,
        )
        seconds = (until - time.monotonic()) / (len(chosen.model) - number)
        for found in run(asked, wanted, listed, seconds):
            result["models"][model] = found
            result["about"]["machine"]["used_by_others"] = neighbours.share()
            write(result, path)
    _say(f"wrote {path.name}")
    if not plot.draw(result, path.with_suffix(".png")):
        _say('no plot: pip install "qwire[bench]"')
    return result


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--model", nargs="+", choices=["demo", *QWEN3], default=["0.6B"])
    parser.add_argument("--layers", type=int, help="of the shaped models; all by default")
    parser.add_argument("--peers", nargs="*", choices=_PEERS, default=_PEERS[:1])
    parser.add_argument("--minutes", type=float, default=9, help="for all cells together")
    parser.add_argument("--rate", type=float, help="questions a second beside bulk")
    parser.add_argument("--only", nargs="+", metavar="CELL", help="cells by their names")
    parser.add_argument(
        "--flag", action="append", default=[], metavar="--NAME=VALUE", help="of the server"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a test, no figures")
    parser.add_argument("--commit", help="of this tree, where there is no git to ask")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args(argv)
    if chosen.device == "cuda" and "infinity" in chosen.peers:
        parser.error("--peers infinity is measured on a CPU only: leave it out, or --device cpu")
    return chosen


def _chosen(every: list[Cell], names: list[str] | None) -> list[Cell]:
    known = [cell.name for cell in every]
    if unknown := set(names or ()) - set(known):
        sys.exit(f"--only {' '.join(sorted(unknown))}: the cells are {', '.join(known)}")
    return [cell for cell in every if names is None or cell.name in names]


def _about(chosen: argparse.Namespace) -> dict[str, Any]:
    about = {
        **machine.about(),
        "commit": chosen.commit or machine.commit(),
        "device": chosen.device,
        "flags": chosen.flag,
        "quick": chosen.quick,
        "minutes": chosen.minutes,
        "torch_threads": machine.cores(),
        "openmp_wait": os.environ["OMP_WAIT_POLICY"],
    }
    if chosen.device == "cuda":
        about["gpu"] = gpu.about()
    return {"about": about, "models": {}}


def _name(result: dict[str, Any], chosen: argparse.Namespace) -> str:
    """`<date and minute>-<machine class or GPU>-suite-<models>.json`."""
    about = result["about"]
    name = about.get("gpu", {}).get("name", "")
    where = re.sub(r"[^a-z0-9]+", "-", name.lower()) if name else about["machine"]["class"]
    quick = "-quick" if chosen.quick else ""
    return f"{stem(about, where)}-suite-{'-'.join(chosen.model)}{quick}.json"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
