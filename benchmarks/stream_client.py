"""Streams many texts and watches the memory of both sides; prints JSON. Run by `benchmarks.free`.

Arguments: target, process id of the server, texts, texts to warm up with. Memory is resident
memory, sampled; growth is its peak above what it was after the warm-up, as the stream began.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from typing import Any

from benchmarks import texts
from benchmarks.process import Memory, cpu_seconds
from benchmarks.rounds import digits
from qwire import Client

_DIFFERENT_TEXTS = 4096


def main(target: str, server: int, count: int, warm: int) -> dict[str, Any]:
    """Stream `count` texts of sixteen tokens."""
    endless = itertools.cycle(texts.of_sixteen_tokens(_DIFFERENT_TEXTS))
    mine = os.getpid()
    with Client(target) as client:
        _drain(client, endless, warm)
        used = [cpu_seconds(server), cpu_seconds(mine)]
        began = time.perf_counter()
        with Memory(server, mine) as memory:
            _drain(client, endless, count)
        seconds = time.perf_counter() - began
        used = [cpu_seconds(server) - used[0], cpu_seconds(mine) - used[1]]
    return {
        "texts": count,
        "seconds": digits(seconds),
        "texts_per_second": digits(count / seconds),
        "cpu_microseconds_per_text": _both([1e6 * each / count for each in used]),
        "memory_mb_before": _both(memory.before),
        "memory_mb_peak": _both(memory.peak),
        "memory_mb_growth": _both(memory.growth),
    }


def _drain(client: Client, endless: itertools.cycle[str], count: int) -> None:
    answered = sum(
        item.embedding is not None for item in client.embed_stream(itertools.islice(endless, count))
    )
    assert answered == count, f"{count - answered} texts have no vector"


def _both(pair: list[float]) -> dict[str, float]:
    server, client = pair
    return {"server": digits(server), "client": digits(client)}


if __name__ == "__main__":
    address, pid, *counts = sys.argv[1:]
    print(json.dumps(main(address, int(pid), *map(int, counts))))
