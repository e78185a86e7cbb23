"""One short question on an idle server, beside its bare forward and a gRPC call that does nothing.

The three take turns. The call that does nothing is the health check of the same server over a
channel of the same process; its request and reply are a few bytes, a question's reply has a vector.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.rounds import digits, percentile
from benchmarks.texts import QUERY
from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.local import PackedForward

_HEALTH = "/grpc.health.v1.Health/Check"
_WARM = 3


def measure(target: str, bare: PackedForward, queries: int) -> dict[str, Any]:
    """Milliseconds of each; `over_bare` is the median difference between neighbours."""
    with Client(target) as client, grpc.insecure_channel(target) as channel:
        nothing: Any = channel.unary_unary(_HEALTH)  # bytes in, bytes out
        ways: dict[str, Callable[[], Any]] = {
            "query": lambda: client.embed_query(QUERY),
            "bare": lambda: bare.query(QUERY),
            "nothing": lambda: nothing(b""),
        }
        taken = _take_turns(ways, queries)
    over = [query - forward for query, forward in zip(taken["query"], taken["bare"], strict=True)]
    summaries: dict[str, Any] = {name: _summary(values) for name, values in taken.items()}
    return {"queries": queries, "ms": summaries, "over_bare_ms": digits(statistics.median(over))}


def _take_turns(ways: dict[str, Callable[[], Any]], times: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-_WARM, times):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn >= 0:
                taken[name].append((time.perf_counter() - began) * 1000)
    return taken


def _summary(values: list[float]) -> dict[str, float]:
    return {
        "p50": percentile(values, 50),
        "p95": percentile(values, 95),
        "min": digits(min(values)),
        "max": digits(max(values)),
    }
