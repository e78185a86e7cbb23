"""Short questions with one instruction, with and without what the server keeps of instructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.rounds import digits
from benchmarks.suite.sizes import CHUNK_TEXTS, STREAMS
from benchmarks.suite.throughput import streamed
from benchmarks.suite.workloads import INSTRUCTED
from qwire import Client

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

_WAYS = {"without": "off", "with": "256MiB"}
_FEW = 64
_MOST_TEXTS = 40_000


def measure(stage: Stage) -> dict[str, Any]:
    """Both ways, each on a server of its own, and how far their vectors are apart.

    Raises:
        Unfit: the model takes no instruction.
    """
    kind = stage.fitted(INSTRUCTED)
    texts = 0
    cell: dict[str, Any] = {"workload": kind.as_json()}
    rows = {}
    for way, setting in _WAYS.items():
        flags = ["--prefix-cache", setting]
        with stage.another_bare(*flags) as bare:
            alone = bare.ask(
                "forward", workload=kind.as_json(), texts=_FEW, seconds=stage.sizes.bare
            )
        texts = texts or _texts(alone["texts_per_second"] * stage.sizes.stream)
        stage.restart(*flags)
        stage.asked = 0.0
        cell[way] = {**streamed(stage, kind, texts), "bare": alone}
        rows[way] = _rows(stage, kind)
    stage.end_server()
    faster = cell["with"]["texts_per_second"] / cell["without"]["texts_per_second"]
    return {
        **cell,
        "times_as_fast": digits(faster),
        "largest_difference": digits(float(np.abs(rows["with"] - rows["without"]).max())),
    }


def _texts(wanted: float) -> int:
    """Whole chunks for each stream."""
    chunks = STREAMS * CHUNK_TEXTS
    return chunks * math.ceil(min(wanted, _MOST_TEXTS) / chunks)


def _rows(stage: Stage, kind: Workload) -> NDArray[np.float32]:
    with Client(stage.target) as client:
        return client.embed(kind.texts(_FEW), input_type="query").vectors
