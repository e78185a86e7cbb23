"""The rates of a result as bars: medians, with a line from the slowest round to the fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def draw(result: dict[str, Any], path: Path) -> bool:
    """Write a PNG if there is something to draw; False without matplotlib (extra `bench`)."""
    panels = _panels(result)
    if not panels:
        return True
    try:
        import matplotlib as mpl  # noqa: PLC0415  optional
    except ImportError:
        return False
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  optional

    figure, axes = plt.subplots(len(panels), figsize=(9, 2.9 * len(panels)), squeeze=False)
    for axis, (title, rates, words) in zip(axes[:, 0], panels, strict=True):
        _bars(axis, title, rates, words)
    about = result["about"]
    machine = f"{about['machine']['processor']}, {about['machine']['cores']} cores"
    figure.suptitle(f"Qwire, {about['date'][:10]}, {machine}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def _panels(result: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    words = result["words"]
    panels = [
        (model["title"], model["texts_per_second"], words["models"])
        for model in result.get("models", {}).values()
    ]
    if free := result.get("free"):
        panels.append(("a model that costs nothing", free["texts_per_second"], words["free"]))
    return panels


def _bars(axis: Any, title: str, rates: dict[str, Any], words: dict[str, str]) -> None:
    medians = [rate["median"] for rate in rates.values()]
    below = [rate["median"] - rate["min"] for rate in rates.values()]
    above = [rate["max"] - rate["median"] for rate in rates.values()]
    names = [words[name].replace("`", "") for name in rates]
    colours = ["#c8c8c8" if name.startswith("st_") else "#3b6ea5" for name in rates]
    axis.barh(names, medians, xerr=[below, above], color=colours, ecolor="#333333", capsize=2)
    axis.invert_yaxis()
    axis.set_title(f"{title}: texts a second", fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
