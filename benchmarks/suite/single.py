"""Single texts: one question on an idle server, and 64 callers at once, beside Infinity."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.rounds import digits
from benchmarks.suite import infinity
from benchmarks.suite.offer.calls import together
from benchmarks.suite.sizes import CALLERS
from benchmarks.suite.workloads import LOG_NORMAL
from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

_GENERATORS = 4  # where there are processors for them: one core is soon full of calls
_BATCH = 32  # texts of the larger requests; Infinity's own default
_WAYS = {"single": (CALLERS, 1), "batch": (CALLERS // _BATCH, _BATCH)}  # callers, texts a call
_FEW = 8
_DIFFERENT = 4096


def start(stage: Stage) -> dict[str, Any]:
    """Time to ready with an empty compile cache and a full one, and the first questions then."""
    cold = stage.restart()
    after_cold = _questions(stage, 100)
    warm = stage.restart()
    return {
        "cold_seconds": digits(cold),
        "cold": after_cold,
        "warm_seconds": digits(warm),
        "warm": _questions(stage, 100),
    }


def idle(stage: Stage) -> dict[str, Any]:
    """One question after the other, a call that does nothing, the bare forward of the question."""
    count = stage.sizes.questions
    return {"bare_ms": stage.bare.ask("query", times=count), **_questions(stage, count)}


def agreement(stage: Stage) -> dict[str, float]:
    """The worst cosine of a few vectors to the bare forward of each text alone.

    Peers that compute something else must not be compared.
    """
    few = stage.fitted(LOG_NORMAL).texts(_FEW)
    alone = _unit(stage.bare.ask("vectors", texts=few))
    with Client(stage.target) as client:
        found = {"served": _cosine(alone, client.embed(few).vectors)}
    if "sentence-transformers" in stage.peers:
        found["st"] = _cosine(alone, stage.peer.ask("vectors", texts=few))
    return found


def callers(stage: Stage) -> dict[str, Any]:
    """64 callers with one text each, and as many texts in requests of 32."""
    kind = stage.fitted(LOG_NORMAL)
    cell: dict[str, Any] = {"workload": kind.as_json()}
    if "infinity" not in stage.peers:
        return cell | {way: _called(stage, kind, *offered) for way, offered in _WAYS.items()}
    with infinity.served(stage.folder, machine.cores()) as port:
        few = kind.texts(_FEW)
        alone = _unit(stage.bare.ask("vectors", texts=few))
        theirs: dict[str, Any] = {
            "version": infinity.VERSION,
            "cosine_to_bare": _cosine(alone, infinity.vectors(port, few)),
        }
        rounds = {"single": stage.sizes.single_rounds, "batch": stage.sizes.rounds}
        over, of_rounds = {}, {}
        for way, offered in _WAYS.items():
            pairs = [
                (_called(stage, kind, *offered), _called_there(stage, port, kind, *offered))
                for _ in range(rounds[way])
            ]
            cell[way], theirs[way] = (_middle(side) for side in zip(*pairs, strict=True))
            of_rounds[way] = [digits(_rate(ours) / _rate(their)) for ours, their in pairs]
            over[way] = statistics.median(of_rounds[way])
    return {**cell, "infinity": theirs, "over_infinity": over, "rounds_over_infinity": of_rounds}


def _middle(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return sorted(found, key=_rate)[len(found) // 2]


def _rate(found: dict[str, Any]) -> float:
    rate: float = found["texts_per_second"]
    return rate


def _questions(stage: Stage, count: int) -> dict[str, Any]:
    (found,) = stage.offer("turns", questions=min(count, stage.sizes.questions))
    stage.asked = time.monotonic()
    return found


def _called(stage: Stage, kind: Workload, count: int, texts_per_call: int) -> dict[str, Any]:
    generators = min(_GENERATORS, count, max(1, machine.cores() // 4))
    parts = stage.offer(
        "calls",
        generators,
        workload=kind.as_json(),
        callers=count // generators,
        texts_per_call=texts_per_call,
        different=_DIFFERENT,
        warm=stage.sizes.warm,
        seconds=stage.sizes.window,
    )
    stage.asked = time.monotonic()
    return {"callers": count, "texts_per_call": texts_per_call, **together(parts)}


def _called_there(
    stage: Stage, port: int, kind: Workload, count: int, texts_per_call: int
) -> dict[str, Any]:
    crowd = infinity.Callers(port, kind, count, texts_per_call, _DIFFERENT)
    return {
        "callers": count,
        "texts_per_call": texts_per_call,
        **crowd.run(stage.sizes.warm, stage.sizes.window),
    }


def _unit(rows: Any) -> NDArray[np.float64]:
    array: NDArray[np.float64] = np.array(rows, np.float64)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    return array


def _cosine(alone: NDArray[np.float64], rows: Any) -> float:
    return float(f"{(alone * _unit(rows)).sum(axis=1).min():.7f}")
