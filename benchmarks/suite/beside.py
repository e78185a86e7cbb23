"""Bulk alone, then the same bulk beside questions: one server, one set of flags."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.suite.sizes import CHUNK_TEXTS, STREAMS
from benchmarks.suite.throughput import CHUNK_BATCHES

if TYPE_CHECKING:
    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

_CHUNKS = 4  # different ones a stream, after which it begins again


def measure(stage: Stage, workload: Workload) -> dict[str, Any]:
    """What bulk keeps, and how long questions take.

    Raises:
        Unfit: the model takes no such texts.
    """
    kind = stage.fitted(workload)
    stage.await_no_questions()
    alone = _offered(stage, kind, 0)
    beside = _offered(stage, kind, stage.sizes.rate)
    stage.asked = time.monotonic()
    kept = beside["bulk_tokens_per_second"] / alone["bulk_tokens_per_second"]
    return {
        "workload": kind.as_json(),
        "rate": stage.sizes.rate,
        "alone": alone,
        "beside": beside,
        "bulk_kept": digits(kept),
    }


def _offered(stage: Stage, kind: Workload, rate: float) -> dict[str, Any]:
    chunk = kind.chunk_texts(CHUNK_TEXTS, CHUNK_BATCHES * stage.about["batch_tokens"])
    (found,) = stage.offer(
        "beside",
        workload=kind.as_json(),
        texts=_CHUNKS * STREAMS * chunk,
        streams=STREAMS,
        chunk_texts=chunk,
        rate=rate,
        warm=stage.sizes.warm,
        seconds=stage.sizes.window,
    )
    return found
