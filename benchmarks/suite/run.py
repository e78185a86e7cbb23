"""One model through its cells, within its time."""

from __future__ import annotations

import re
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.shapes import QWEN3
from benchmarks.suite import gpu
from benchmarks.suite.stage import Stage, Unfit
from qwire_server.checkpoint.source import DEMO, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.suite.cells import Cell
    from benchmarks.suite.sizes import Sizes

_SPARE = 1.2  # times what a cell is said to take must be left for it


@dataclass(frozen=True, slots=True)
class Asked:
    """What to run.

    Attributes:
        model: "demo", "0.6B", "4B" or "8B".
        layers: of a shaped model; None for all.
        flags: more flags of the server.
        small: a shaped model gets one layer and a short embedding table: a test, no figures.
    """

    model: str
    layers: int | None
    device: str
    flags: tuple[str, ...]
    peers: tuple[str, ...]
    small: bool


def run(
    asked: Asked, sizes: Sizes, listed: Sequence[Cell], seconds: float
) -> Iterator[dict[str, Any]]:
    """What is known of the model, anew after each cell.

    Cells for which the time does not suffice are left out, and so are those that fail: what was
    measured before stands.
    """
    began = time.monotonic()
    with _folder(asked) as folder, ExitStack() as stack:
        drawing = time.monotonic() - began
        name = DEMO if asked.model == DEMO else str(folder)
        stage = stack.enter_context(
            Stage(
                name,
                folder,
                asked.device,
                flags=list(asked.flags),
                sizes=sizes,
                peers=asked.peers,
            )
        )
        found: dict[str, Any] = {
            "title": _title(asked, stage.shape.layers),
            "weights_seconds": digits(drawing),  # not part of the time that cells have
            "shape": asdict(stage.shape),
            "cells": {},
            "left_out": {},
        }
        began = time.monotonic()
        for cell in listed:
            left = seconds - (time.monotonic() - began)
            if left < cell.seconds * _SPARE:
                found["left_out"][cell.name] = (
                    f"{left:.0f} s were left, it takes about {cell.seconds:.0f}"
                )
            else:
                _measure(cell, stage, found)
            yield found
        found.update(_known(stage))
        yield found


def _measure(cell: Cell, stage: Stage, found: dict[str, Any]) -> None:
    _say(f"measuring: {cell.name}")
    began = time.monotonic()
    try:
        with gpu.Watch() as watch:
            result = cell.run(stage)
    except Unfit as error:
        found["left_out"][cell.name] = str(error)
    except Exception as error:  # noqa: BLE001  a lent device is not held for the sake of one cell
        traceback.print_exc()
        found["left_out"][cell.name] = f"failed: {_last_line(error)}"
        stage.recover()
    else:
        taken = digits(time.monotonic() - began)
        found["cells"][cell.name] = {"kind": cell.kind, "took": taken, **result}
        if watch.found:
            found["cells"][cell.name]["gpu"] = watch.found
    found.update(_known(stage))


def _last_line(error: Exception) -> str:
    """What the last traceback in it ends with, where the message is a process's log."""
    text = str(error).strip() or type(error).__name__
    return (
        re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", text, re.MULTILINE) or text.splitlines()[:1]
    )[-1]


def _known(stage: Stage) -> dict[str, Any]:
    """What the bare forward told, if anything asked it."""
    return {name: vars(stage)[name] for name in ("about", "products") if name in vars(stage)}


@contextmanager
def _folder(asked: Asked) -> Iterator[Path]:
    """Of the model's files."""
    if asked.model == DEMO:
        yield find(DEMO).folder
        return
    # Both import torch, which this process needs for nothing else.
    from benchmarks.shaped import qwen3_shaped  # noqa: PLC0415
    from benchmarks.suite.weights import kept  # noqa: PLC0415

    if asked.small:
        with tempfile.TemporaryDirectory() as folder:
            yield qwen3_shaped(Path(folder) / "qwen3-shaped", 1)
    else:
        yield kept(asked.model, asked.layers, asked.device)


def _title(asked: Asked, layers: int) -> str:
    if asked.model == DEMO:
        return "demo model (all-MiniLM-L6-v2, 22M parameters)"
    every = QWEN3[asked.model].layers
    cut = "" if layers == every else f", {layers} of {every} layers"
    return f"Qwen3-Embedding-{asked.model} shape{cut}, random weights"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
