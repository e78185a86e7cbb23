"""Waits as distributions and Jain's index as bars, the three policies beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS = {"ours": "#3b6ea5", "first": "#d08030", "permits": "#8a8a8a"}
# Where two curves are one, both are seen.
_STYLES: dict[str, Any] = {"ours": "-", "first": "-", "permits": "--"}
_LEAST = 1e-3  # seconds; shorter waits are drawn there
_PANELS = (
    ("reindex", "person", "people beside a re-index"),
    ("day", "short", "a day, 10,000 clients: short sessions"),
    ("day", "stream", "the same day: chunks of streams"),
    ("greedy", "client", "the 50 beside a greedy client"),
    ("deadlines", "client", "deadlines of 0.3 to 20 s: answered in time"),
)
_FAIR = {
    "overload-100": "100 clients,\n3x load",
    "overload-1000": "1,000 clients,\n3x load",
    "dear": "dear texts\namong cheap",
}


def draw(result: dict[str, Any], path: Path) -> bool:
    """Write a PNG of what was simulated; False without matplotlib (extra `bench`)."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  optional
    except ImportError:
        return False
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  optional
    from matplotlib.lines import Line2D  # noqa: PLC0415  optional

    figure, axes = plt.subplots(2, 3, figsize=(12, 7))
    spots = list(axes.flat)
    for axis, (trace, kind, title) in zip(spots, _PANELS, strict=False):
        _waits(axis, result, trace, kind)
        axis.set_title(title, fontsize=10, loc="left")
    _fairness(spots[-1], result)
    for axis in spots:
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    lines = [
        Line2D([], [], color=colour, linestyle=_STYLES[policy], linewidth=2.5)
        for policy, colour in _COLOURS.items()
    ]
    names = [result["policies"][policy] for policy in _COLOURS]
    figure.legend(lines, names, loc="upper center", ncols=3, frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _waits(axis: Any, result: dict[str, Any], trace: str, kind: str) -> None:
    """How long each part of the requests waited at most, in percent of those that arrived."""
    runs = result["traces"].get(trace, {"runs": {}})["runs"]
    for policy, run in runs.items():
        if waits := run["waits"].get(kind):
            answered = waits["count"] / run["arrived"][kind]
            points = {float(k[1:]): v for k, v in waits.items() if k.startswith("p")}
            axis.plot(
                [max(value, _LEAST) for value in points.values()],
                [answered * percent for percent in points],
                color=_COLOURS[policy],
                linestyle=_STYLES[policy],
                linewidth=2,
            )
    axis.set_xscale("log")
    axis.set_ylim(0, 101)
    axis.set_xlabel("wait, seconds", fontsize=8)
    axis.set_ylabel("percent answered within it", fontsize=8)
    axis.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.7)


def _fairness(axis: Any, result: dict[str, Any]) -> None:
    """Jain's index, where clients ask for equally much."""
    shown = [name for name in _FAIR if name in result["traces"]]
    for shift, policy in enumerate(_COLOURS):
        values = [result["traces"][name]["runs"][policy]["jain"] for name in shown]
        places = [index + 0.27 * (shift - 1) for index in range(len(shown))]
        bars = axis.bar(places, values, width=0.25, color=_COLOURS[policy])
        axis.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=7, padding=1)
    axis.set_xticks(range(len(shown)), [_FAIR[name] for name in shown])
    axis.set_ylim(0, 1.1)
    axis.set_title("Jain's index of device time", fontsize=10, loc="left")
