"""Short questions with one instruction, with and without what the server keeps of instructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.rounds import digits
from benchmarks.suite.throughput import streamed
from benchmarks.suite.workloads import INSTRUCTED
from qwire import Client
from qwire_server.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

_WAYS = {"without": "off", "with": "256MiB"}
_FEW = 64
_MOST_TEXTS_PER_SECOND = 8000


def is_offered() -> bool:
    """Whether this server can reuse anything."""
    return "prefix_cache" in Settings.model_fields


def measure(stage: Stage) -> dict[str, Any]:
    """Both ways, each on a server of its own, and how far their vectors are apart.

    Raises:
        Unfit: the model takes no instruction.
    """
    kind = stage.fitted(INSTRUCTED)
    bare = stage.bare.ask("forward", workload=kind.as_json(), texts=_FEW, seconds=stage.sizes.bare)
    wanted = min(bare["texts_per_second"], _MOST_TEXTS_PER_SECOND) * stage.sizes.stream
    texts = max(512, 64 * math.ceil(wanted / 64))
    cell: dict[str, Any] = {"workload": kind.as_json()}
    rows = {}
    for way, setting in _WAYS.items():
        stage.restart("--prefix-cache", setting)
        stage.asked = 0.0
        cell[way] = streamed(stage, kind, texts)
        # What a text is said to take does not change, what is computed for it does.
        server = cell[way]["server"]
        cell[way]["computed_per_text"] = digits(server["tokens"] / server["texts"])
        rows[way] = _rows(stage, kind)
    stage.end_server()
    faster = cell["with"]["texts_per_second"] / cell["without"]["texts_per_second"]
    return {
        **cell,
        "times_as_fast": digits(faster),
        "largest_difference": digits(float(np.abs(rows["with"] - rows["without"]).max())),
    }


def _rows(stage: Stage, kind: Workload) -> NDArray[np.float32]:
    with Client(stage.target) as client:
        return client.embed(kind.texts(_FEW), input_type="query").vectors
