"""Runs the benchmarks: `make bench`, or `python -m benchmarks [--quick] [--only PART ...]`.

Prints the table; writes JSON, and a plot where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, plot, process, table, texts
from benchmarks.save import RESULTS, save, stem
from benchmarks.sizes import FULL, QUICK, Sizes

PARTS = ("demo", "shaped", "free", "formats")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a test, no figures")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    parser.add_argument(
        "--spin",
        action="store_true",
        help="let OpenMP threads spin while they wait, as is their default; see benchmarks.process",
    )
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=chosen.spin)
    result = measure(QUICK if chosen.quick else FULL, chosen.only)
    print(table.markdown(result))
    write(result, chosen.out)


def measure(sizes: Sizes, parts: list[str]) -> dict[str, Any]:
    """Run parts one after the other; nothing else should run on the machine meanwhile."""
    began, neighbours = time.monotonic(), machine.Neighbours()
    result = _about(sizes)
    for part in parts:
        _say(f"measuring: {part}")
        _run(part, sizes, result)
    result["about"]["seconds"] = round(time.monotonic() - began, 1)
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    return result


def write(result: dict[str, Any], folder: Path) -> None:
    """Write `<date>-<machine class>.json`, and `.png` beside it."""
    about = result["about"]
    path = save(result, folder, stem(about) + ("-quick" if about["quick"] else ""))
    if not plot.draw(result, path.with_suffix(".png")):
        _say('no plot: pip install "qwire[bench]"')


def _run(part: str, sizes: Sizes, result: dict[str, Any]) -> None:
    """Parts import what they need, so that those without a model start without torch."""
    if part == "formats":
        from benchmarks import formats  # noqa: PLC0415

        result["words"][part] = formats.DESCRIPTIONS
        result[part] = formats.measure(sizes)
    elif part == "free":
        from benchmarks import free  # noqa: PLC0415

        result["words"][part] = free.DESCRIPTIONS
        result[part] = free.measure(sizes)
    else:
        from benchmarks import models, ways  # noqa: PLC0415

        measure_part = {"demo": models.measure_demo, "shaped": models.measure_shaped}[part]
        result["words"]["models"] = ways.DESCRIPTIONS
        result.setdefault("models", {})[part] = measure_part(sizes, machine.cores())


def _about(sizes: Sizes) -> dict[str, Any]:
    about = {
        **machine.about(),
        "quick": sizes is QUICK,
        "torch_threads": machine.cores(),
        "openmp_wait": os.environ.get("OMP_WAIT_POLICY", "default"),
        "rounds": sizes.rounds,
        "lengths": texts.DISTRIBUTION,
    }
    return {"about": about, "words": {}}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
