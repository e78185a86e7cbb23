"""Chaos: load on three servers while faults are injected; then the books are closed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.fleet import Clients, Fleet
from chaos.keys import Keys
from chaos.monkey import Monkey
from chaos.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Result:
    """What a run found.

    Attributes:
        seconds: that clients were at work.
        faults: injected, by kind.
        ended: processes of servers, by exit status.
        books: of those that ended in an orderly way.
        reloads: of the keys; see `Fleet.reloads`.
    """

    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    books: list[dict[str, int]] = field(default_factory=list)
    reloads: dict[str, int] = field(default_factory=dict)

    @property
    def unbalanced(self) -> int:
        """Texts that a server accepted and then forgot, or counted twice."""
        return sum(
            abs(b["accepted"] - b["answered"] - b["failed"] - b["abandoned"]) for b in self.books
        )

    @property
    def zeros(self) -> dict[str, int]:
        """What must not be."""
        tally = self.tally
        return {
            "lost": tally.lost + self.unbalanced,
            "duplicated": tally.duplicated,
            "wrong": tally.wrong,
        }


def chaos(seconds: float, processes: int, seed: int) -> Result:
    """Run it.

    Args:
        seconds: of faults.
        processes: of clients.
        seed: of the faults.
    """
    result = Result()
    with tempfile.TemporaryDirectory() as folder, Fleet(Keys(Path(folder) / "keys")) as fleet:
        targets = [fleet.target(number % len(fleet.servers)) for number in range(processes)]
        with Clients(targets, fleet.keys.good) as clients:
            began = time.monotonic()
            monkey = Monkey(fleet, seed)
            monkey.strike_for(seconds)
            fleet.heal()
            result.tally = clients.finish()
            result.seconds = time.monotonic() - began
            result.faults = monkey.struck
        fleet.settle()
        result.books = fleet.stop()
        result.reloads = fleet.reloads
        for server in fleet.servers:
            result.ended.update(server.statuses)
    return result


def table(result: Result) -> str:
    """For people."""
    tally = result.tally
    rows = {
        "load held": f"{tally.right} texts in {result.seconds:.0f} s "
        f"({tally.right / result.seconds:.0f}/s): {tally.calls} calls, {tally.streams} streams",
        "faults injected": f"{sum(result.faults.values())}: {_listed(result.faults)}",
        "reloads of keys": _listed(result.reloads),
        "servers ended": _listed({_ENDS.get(s, f"status {s}"): n for s, n in result.ended.items()}),
        "told to the caller": f"{sum(tally.told.values())} texts: {_listed(tally.told) or '-'}",
        "books that balance": f"{len(result.books)} processes, {_accepted(result)} texts",
        **{name: str(count) for name, count in result.zeros.items()},
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


_ENDS = {
    0: "drained",
    1: "failed",
    2: "refused to start",
    -9: "killed",
    -15: "stopped while starting",
}


def _accepted(result: Result) -> int:
    return sum(books["accepted"] for books in result.books)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
