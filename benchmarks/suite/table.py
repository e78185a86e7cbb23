"""The figures of a result as Markdown: `python -m benchmarks.suite.table [--readme] result.json`.

`--readme` prints the part that README.md shows, `--readme-zh` that of README.zh-CN.md.

Pure: from the JSON alone, so that a README's table and a run's table are the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chinese import translated
from benchmarks.markdown import grid, number
from benchmarks.suite.goals import goals

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAYS = ("single", "batch")


def markdown(result: dict[str, Any]) -> str:
    """All that was measured, and what was not."""
    parts = [*_models(result), *_goals(result), *_left_out(result), _about(result)]
    return "\n\n".join(parts) + "\n"


def summary(result: dict[str, Any]) -> str:
    """What the README shows of it."""
    return "\n\n".join([*_models(result), _about(result)]) + "\n"


def _models(result: dict[str, Any]) -> Iterator[str]:
    for model in result["models"].values():
        yield f"### {model['title']}"
        yield from _streams(model)
        yield from _questions(model)
        yield from _callers(model)
        yield from _beside(model)
        yield from _reuse(model)
        yield from _start(model)


def _streams(model: dict[str, Any]) -> Iterator[str]:
    cells = _of_kind(model, "stream")
    if not cells:
        return
    head = ["", "tokens/s", "texts/s", "of bare", "of product", "waits", "fill"]
    over = {"st_arrival": "over st", "st_best": "over st, best"}
    peers = [name for name in over if any(name in cell["over"] for cell in cells)]
    rows = [[*_stream(cell), *(_times(cell["over"].get(name)) for name in peers)] for cell in cells]
    yield grid([*head, *(over[name] for name in peers)], rows)
    product, about = max(model["products"].values()) / 1e12, model["about"]
    told = (
        f"Computed in {about['dtype']}, at most {about['batch_tokens']:,} tokens a batch. "
        f"Bare is the forward alone, in process, on the same texts. "
        f"Product is a product of square matrices in the same run, {product:.3g} TFLOP/s. "
        f"Waits is the part of the time in which the device had no work though a text waited."
    )
    if peers:
        dtype = next(cell["st_best"]["dtype"] for cell in cells if "st_best" in cell)
        told += (
            f" St is sentence-transformers in {dtype} at its default, batches of 32 as they "
            "arrive; best is its best batch size on a sorted list."
        )
    yield told


def _stream(cell: dict[str, Any]) -> list[str]:
    served = cell["served"]
    return [
        _workload(cell["workload"]),
        number(served["tokens_per_second"]),
        number(served["texts_per_second"]),
        f"{cell['of_bare']:.2f}",
        f"{cell['of_product']:.2f}",
        f"{100 * served['server']['starved']:.1f}%",
        f"{served['server']['batch_fill']:.2f}",
    ]


def _questions(model: dict[str, Any]) -> Iterator[str]:
    for cell in _of_kind(model, "idle"):
        ways = {
            "ms": "one short question, idle server",
            "client_ms": "the same through `AsyncClient`",
            "bare_ms": "its forward alone, in process",
            "nothing_ms": "a gRPC call that does nothing",
        }
        rows = [[words, *_ms(cell[name])] for name, words in ways.items()]
        yield grid(["", "p50 ms", "p99 ms"], rows)


def _callers(model: dict[str, Any]) -> Iterator[str]:
    for cell in _of_kind(model, "callers"):
        rows = [[_crowd("Qwire", cell[way]), *_called(cell[way])] for way in _WAYS]
        if theirs := cell.get("infinity"):
            name = f"Infinity {theirs['version']}"
            rows += [[_crowd(name, theirs[way]), *_called(theirs[way])] for way in _WAYS]
        yield grid(["", "texts/s", "p50 ms", "p99 ms"], rows)


def _crowd(who: str, called: dict[str, Any]) -> str:
    return f"{who}: {called['callers']} callers, {called['texts_per_call']} a call"


def _called(called: dict[str, Any]) -> list[str]:
    return [number(called["texts_per_second"]), *_ms(called["ms"])]


def _beside(model: dict[str, Any]) -> Iterator[str]:
    cells = _of_kind(model, "beside")
    if cells:
        rate = cells[0]["rate"]
        head = ["bulk", "tokens/s alone", "keeps", "question p50 ms", "p99 ms"]
        yield grid(head, [_mixed(cell) for cell in cells])
        yield f"Beside the bulk stream {rate:g} questions a second."


def _mixed(cell: dict[str, Any]) -> list[str]:
    alone, kept = cell["alone"]["bulk_tokens_per_second"], cell["bulk_kept"]
    return [_workload(cell["workload"]), number(alone), f"{kept:.2f}", *_ms(cell["beside"]["ms"])]


def _reuse(model: dict[str, Any]) -> Iterator[str]:
    for cell in _of_kind(model, "reuse"):
        ways = {
            "without": "questions behind one instruction, each computed whole",
            "with": "the same, the instruction computed once",
        }
        rows = [
            [
                words,
                number(cell[way]["texts_per_second"]),
                f"{cell[way]['bare']['computed_per_text']:.1f}",
            ]
            for way, words in ways.items()
        ]
        yield grid(["", "texts/s", "tokens computed a text"], rows)
        yield f"Largest difference of a value between the two: {cell['largest_difference']:.1e}."


def _start(model: dict[str, Any]) -> Iterator[str]:
    for cell in _of_kind(model, "start"):
        rows = [
            [
                words,
                f"{cell[f'{name}_seconds']:.1f}",
                f"{cell[name]['first_ms']:.1f}",
                f"{cell[name]['last_ms']:.1f}",
            ]
            for name, words in {
                "cold": "start with an empty compile cache",
                "warm": "start with a full one",
            }.items()
        ]
        count = cell["cold"]["questions"]
        yield grid(["", "ready after s", "first question ms", f"number {count} ms"], rows)


def _goals(result: dict[str, Any]) -> Iterator[str]:
    rows = [
        [goal.what, goal.goal, goal.reached, "yes" if goal.met else "**no**"]
        for goal in goals(result)
    ]
    if rows:
        yield "### Targets\n\n" + grid(["", "target", "reached", "met"], rows)


def _left_out(result: dict[str, Any]) -> Iterator[str]:
    lines = [
        f"- {model['title']}, {name}: {why}"
        for model in result["models"].values()
        for name, why in model["left_out"].items()
    ]
    if lines:
        yield "### Not measured\n\n" + "\n".join(lines)


def _about(result: dict[str, Any]) -> str:
    about, machine = result["about"], result["about"]["machine"]
    kept = ["python", "torch", "transformers", "sentence-transformers", "grpcio"]
    versions = ", ".join(f"{k} {about['versions'][k]}" for k in kept if k in about["versions"])
    gpu = about.get("gpu", {})
    device = f"{gpu['name']}, driver {gpu['driver']}, " if gpu else ""
    others = machine["used_by_others"]
    busy = f" Other processes took {others:.0%} of the machine meanwhile." if others else ""
    quick = " **Quick sizes: these figures mean nothing.**" if about["quick"] else ""
    return (
        f"{about['date'][:10]}, {device}{machine['processor']}, {machine['cores']} cores; "
        f"{versions}, commit {about['commit'] or 'unknown'}. "
        f"Texts come in eight streams of chunks of 64.{busy}{quick}"
    )


def _workload(workload: dict[str, Any]) -> str:
    if workload["queries"]:
        return f"questions of {workload['tokens']} tokens behind {workload['prompt']}"
    if workload["most"]:
        return f"log-normal, median {workload['tokens']}, at most {workload['most']} tokens"
    return f"{workload['tokens']:,} tokens"


def _times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.2f}x"


def _ms(taken: dict[str, float]) -> list[str]:
    return [f"{taken[p]:.2f}" if p in taken else "" for p in ("p50", "p99")]


def _of_kind(model: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in model["cells"].values() if cell["kind"] == kind]


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[-1]).read_text("utf-8"))
    if "--readme-zh" in sys.argv:
        print(translated(summary(measured)), end="")
    else:
        print(summary(measured) if "--readme" in sys.argv else markdown(measured), end="")
