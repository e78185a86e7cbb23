"""The rates of a result as bars, one panel a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_WAYS = {
    "served": ("Qwire, through gRPC", "#3b6ea5"),
    "bare": ("its forward alone, in process", "#a9c4de"),
    "st_best": ("sentence-transformers, best batch, sorted", "#8f8f8f"),
    "st_arrival": ("sentence-transformers, default", "#c8c8c8"),
}
_WIDTH = 0.2


def draw(result: dict[str, Any], path: Path) -> bool:
    """Write a PNG if there is something to draw; False without matplotlib (extra `bench`)."""
    panels = {
        model["title"]: streams
        for model in result["models"].values()
        if (streams := {n: c for n, c in model["cells"].items() if c["kind"] == "stream"})
    }
    if not panels:
        return True
    try:
        import matplotlib as mpl  # noqa: PLC0415  optional
    except ImportError:
        return False
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  optional

    figure, axes = plt.subplots(len(panels), figsize=(9, 3.4 * len(panels)), squeeze=False)
    for axis, (title, cells) in zip(axes[:, 0], panels.items(), strict=True):
        _bars(axis, title, cells)
    about = result["about"]
    device = about.get("gpu", {}).get("name") or about["machine"]["processor"]
    figure.suptitle(f"Qwire, {about['date'][:10]}, {device}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def _bars(axis: Any, title: str, cells: dict[str, Any]) -> None:
    for number, (way, (words, colour)) in enumerate(_WAYS.items()):
        shown = {i: cell[way] for i, cell in enumerate(cells.values()) if way in cell}
        places = [i + (number - 1.5) * _WIDTH for i in shown]
        rates = [each["tokens_per_second"] for each in shown.values()]
        axis.bar(places, rates, _WIDTH, label=words, color=colour)
    axis.set_xticks(range(len(cells)), list(cells), fontsize=7)
    axis.set_title(f"{title}: tokens a second", fontsize=9, loc="left")
    axis.tick_params(axis="y", labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
