"""Soak: very many requests, and a server that holds afterwards what it held before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.keys import Keys, changing
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
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keys = stack.enter_context(changing(Keys(folder / "keys.toml")))
        settings = ["queue_seconds=60", f"api_keys_file={keys.path}"]
        command = ["-m", "support.fault_server", "{port}", *settings]
        server = stack.enter_context(Process(*command))
        _load(server.target, keys.good, max(500, requests // 10))
        before = _census(server)
        began, changes = time.monotonic(), keys.changes
        counts = _load(server.target, keys.good, requests)
        seconds = time.monotonic() - began
        counts["changes of keys"] = keys.changes - changes
        return Soaked(seconds, counts, before, _census(server))


def table(soaked: Soaked) -> str:
    """For people."""
    done = ", ".join(f"{name} {count}" for name, count in sorted(soaked.counts.items()))
    seconds = max(soaked.seconds, 0.001)
    others = ("connections", "wrong", "changes of keys")
    requests = sum(soaked.counts.values()) - sum(soaked.counts[name] for name in others)
    lines = [
        f"requests   {requests} in {seconds:.0f} s ({requests / seconds:.0f}/s): {done}",
        f"{'held':<10} {'before':>12} {'after':>12}",
    ]
    lines += [f"{name:<10} {soaked.before[name]:>12} {soaked.after[name]:>12}" for name in HELD]
    books = {name: soaked.after[name] for name in ("accepted", "answered", "failed", "abandoned")}
    told = ", ".join(f"{name} {count}" for name, count in books.items())
    return "\n".join([*lines, f"texts      {told}, under way {soaked.after['open']}"])


def _load(target: str, key: str, requests: int) -> Counter[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "chaos.soak_load", target, str(requests // LOADS)]
    environment = {**os.environ, "PYTHONPATH": paths, "QWIRE_API_KEY": key}
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
