"""What the suite's results should reach, and what they do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.markdown import number
from benchmarks.table import Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_STARVED = 0.05
_SHORT = 50  # tokens: there a quarter of the hardware is asked, above 95 % of the bare forward


def goals(result: dict[str, Any]) -> Iterator[Goal]:
    """The targets that this result can tell about."""
    on_gpu = result["about"]["device"] == "cuda"
    for name, model in result["models"].items():
        cells = model["cells"]
        for of_kind in (_gpu if on_gpu else _cpu, _both):
            for goal in of_kind(cells):
                yield goal._replace(what=f"{model['title']}: {goal.what}")
        if on_gpu and name == "0.6B" and "uniform-512" in cells:
            rate = cells["uniform-512"]["served"]["tokens_per_second"]
            for wanted in (420_000, 527_000):
                yield _least(f"{model['title']}: 512 tokens, on an H200", rate, wanted, number)


def _gpu(cells: dict[str, Any]) -> Iterator[Goal]:
    for name, cell in _streams(cells).items():
        if cell["workload"]["tokens"] <= _SHORT and not cell["workload"]["most"]:
            yield _least(f"{name}, of the product", cell["of_product"], 0.25)
        if name == "uniform-512":
            yield _least(f"{name}, of the bare forward", cell["of_bare"], 0.95)
        yield from _over(name, cell, {"st_best": 2.0, "st_arrival": 5.0})
    if idle := cells.get("idle"):
        wanted = max(4.0, idle["nothing_ms"]["p50"] + 3)
        yield _most("idle question, p50 ms", idle["ms"]["p50"], wanted)
    if beside := cells.get("beside-bulk"):
        yield _least("bulk beside questions keeps", beside["bulk_kept"], 0.85)
        if ms := beside["beside"]["ms"]:
            yield _most("question beside bulk, p99 ms", ms["p99"], 25)
    if start := cells.get("start"):
        yield _most("seconds to ready, warm compile cache", start["warm_seconds"], 15)


def _cpu(cells: dict[str, Any]) -> Iterator[Goal]:
    for name, cell in _streams(cells).items():
        yield from _over(name, cell, {"st_best": 1.2, "st_arrival": 1.5})
    if reuse := cells.get("reuse"):
        yield _least("instruction computed once", reuse["times_as_fast"], 2)
    if over := cells.get("callers", {}).get("over_infinity"):
        yield _least("64 callers over Infinity", over["single"], 5)


def _both(cells: dict[str, Any]) -> Iterator[Goal]:
    for name, cell in _streams(cells).items():
        starved = cell["served"]["server"]["starved"]
        yield _most(f"{name}, part of the time that the device waits", starved, _MOST_STARVED)


def _streams(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in cells.items() if cell["kind"] == "stream"}


def _over(name: str, cell: dict[str, Any], wanted: dict[str, float]) -> Iterator[Goal]:
    words = {"st_best": "sentence-transformers at its best", "st_arrival": "its default"}
    for peer, factor in wanted.items():
        if peer in cell["over"]:
            yield _least(f"{name} over {words[peer]}", cell["over"][peer], factor)


def _least(
    what: str, reached: float, wanted: float, written: Callable[[float], str] = "{:.3g}".format
) -> Goal:
    return Goal(what, f">= {written(wanted)}", written(reached), reached >= wanted)


def _most(what: str, reached: float, wanted: float) -> Goal:
    return Goal(what, f"<= {wanted:.3g}", f"{reached:.3g}", reached <= wanted)
