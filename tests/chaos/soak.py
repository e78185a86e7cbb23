"""Soak: very many requests, and a server that holds afterwards what it held before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from support.fake_process import Process

LOADS = 2  # processes
HELD = {"memory": 24 * 2**20, "threads": 0, "files": 0, "tasks": 0}
"""What a server may hold more of afterwards. Memory is what the allocator does not give back."""


@dataclass
class Soaked:
    """What a run found.

    Attributes:
        counts: of what clients did, by kind.
        before: census of the server when it was warm.
        after: the same at the end.
    """

    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def grown(self) -> dict[str, int]:
        """What the server holds more of than it may, by name."""
        more = {name: self.after[name] - self.before[name] for name in HELD}
        return {name: count for name, count in more.items() if count > HELD[name]}


def soak(requests: int) -> Soaked:
    """Run it: a tenth to get warm, the census, the rest, the census."""
    with Process("-m", "support.fault_server", "{port}", "queue_seconds=60") as server:
        _load(server.target, max(500, requests // 10))
        before = _census(server)
        began = time.monotonic()
        counts = _load(server.target, requests)
        seconds = time.monotonic() - began
        return Soaked(seconds, counts, before, _census(server))


def table(soaked: Soaked) -> str:
    """For people."""
    done = ", ".join(f"{name} {count}" for name, count in sorted(soaked.counts.items()))
    seconds = max(soaked.seconds, 0.001)
    requests = sum(soaked.counts.values()) - soaked.counts["connections"] - soaked.counts["wrong"]
    lines = [
        f"requests   {requests} in {seconds:.0f} s ({requests / seconds:.0f}/s): {done}",
        f"{'held':<10} {'before':>12} {'after':>12}",
    ]
    lines += [f"{name:<10} {soaked.before[name]:>12} {soaked.after[name]:>12}" for name in HELD]
    books = {name: soaked.after[name] for name in ("accepted", "answered", "failed", "abandoned")}
    told = ", ".join(f"{name} {count}" for name, count in books.items())
    return "\n".join([*lines, f"texts      {told}, under way {soaked.after['open']}"])


def _load(target: str, requests: int) -> Counter[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "chaos.soak_load", target, str(requests // LOADS)]
    environment = {**os.environ, "PYTHONPATH": paths}
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(LOADS)
    ]
    counts: Counter[str] = Counter()
    for process in processes:
        told, _ = process.communicate()
        assert process.returncode == 0, "a client fell over"
        counts.update(json.loads(told))
    return counts


def _census(server: Process) -> dict[str, Any]:
    """Once nothing is under way and the connections are gone."""
    last: dict[str, Any] = {}
    while True:
        census = server.asked("census")
        held = {name: census[name] for name in ("threads", "files", "tasks", "open", "calls")}
        if held == last and not census["open"] and not census["calls"]:
            return census
        last = held
        time.sleep(0.5)
