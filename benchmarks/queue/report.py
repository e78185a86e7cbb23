"""The figures of a result as Markdown. Pure: from the JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = (
    "", "wait of", "p50 s", "p99 s", "most s", "answered", "useful", "Jain", "tries", "fill",
)  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    """One table for each trace, and how long it all took."""
    parts = [_trace(trace, result["policies"]) for trace in result["traces"].values()]
    return "\n\n".join([*parts, _legend(result)]) + "\n"


def _trace(trace: dict[str, Any], names: dict[str, str]) -> str:
    rows = [_HEAD, ("---", "---", *["--:"] * (len(_HEAD) - 2))]
    for policy, run in trace["runs"].items():
        rows += _rows(names[policy], run)
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )
    return f"### {trace['title']}\n\n" + "\n".join(lines)


def _rows(name: str, run: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each kind of client; what is true of all of them stands in the first."""
    of_all = (
        f"{run['goodput']:.1%}",
        f"{run['jain']:.3f}" if run["jain"] is not None else "",
        f"{run['offers'] / run['single']:.2f}" if run["single"] else "",
        f"{run['fill']:.2f}" if run["fill"] is not None else "",
    )
    for line, (kind, waits) in enumerate(run["waits"].items()):
        figures = (_seconds(waits["p50"]), _seconds(waits["p99"]), _seconds(waits["p100"]))
        answered = f"{waits['count'] / run['arrived'][kind]:.1%}"
        first = line == 0
        rest = (figure if first else "" for figure in of_all)
        yield (name if first else "", kind, *figures, answered, *rest)


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _legend(result: dict[str, Any]) -> str:
    return (
        "Wait: from the first try to the batch with the last text, of what was answered in time; "
        "of chunks of streams, since there was room for them. Useful: device time spent on texts "
        "answered in time, fixed parts of forwards left out. Jain's index: of that time, among "
        "clients that ask for equally much. Tries: offers for each single request. Fill: of "
        "batches that left work waiting.\n\n"
        f"{result['virtual_seconds']:,.0f} virtual seconds in "
        f"{result['cpu_seconds']:.0f} seconds of one core; seed {result['seed']}, commit "
        f"{result['commit'] or 'unknown'}."
    )
