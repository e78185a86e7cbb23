"""Whose turn it is inside a class: deficit round robin between clients, by cost.

In each round a client may spend one quantum of device time, saved up over rounds if its next text
costs more; inside a client it is first come, first served. Two clients that both wait never differ
by more than a quantum and one text each. After Shreedhar and Varghese, "Efficient fair queuing
using deficit round robin" (1996).

The rounds are not walked: a heap holds, for each client, the round in which its next text's turn
comes, so a step costs O(log clients), however long a text or many the clients.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qwire_server.engine.queue.item import Item

QUANTUM = 1_000  # microseconds a round


class _Turn(NamedTuple):
    """When a client's next text is due: rounds first, then the order in which clients came."""

    round: int
    number: int
    client: str


class _Line:
    """One client's texts, and what it spent since it last had none waiting."""

    __slots__ = ("began", "items", "number", "spent")

    def __init__(self, began: int, number: int) -> None:
        self.items: deque[Item] = deque()
        self.began = began
        self.number = number
        self.spent = 0


class Turns:
    """The texts of one class, by client."""

    def __init__(self, quantum: int = QUANTUM) -> None:
        self._quantum = quantum
        self._round = 0
        self._numbers = itertools.count()
        self._lines: dict[str, _Line] = {}
        self._turns: list[_Turn] = []  # a heap; one turn for each line

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._lines.values())

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Item]:
        """All that waits, client by client."""
        for line in self._lines.values():
            yield from line.items

    def summary(self) -> Iterator[tuple[str, int, int, int]]:
        """Of each client: texts, their cost, and when the oldest came; the gone are not counted."""
        for client, line in self._lines.items():
            live = [item for item in line.items if not item.entry.gone]
            if live:
                cost = sum(item.cost for item in live)
                yield client, len(live), cost, live[0].entry.since

    def push(self, client: str, items: Iterable[Item]) -> None:
        """Append to a client's line; one that had none begins in the present round."""
        line = self._lines.get(client)
        if line is None:
            line = _Line(self._round, next(self._numbers))
            line.items.extend(items)
            if line.items:
                self._lines[client] = line
                self._schedule(client, line)
            return
        line.items.extend(items)

    def next(self, now: int, expired: list[Item]) -> Item | None:
        """The text whose turn it is, left in its place; None if there is none.

        On the way, texts whose caller has gone are dropped and those whose deadline has passed are
        moved to `expired`; neither costs its client anything.
        """
        while self._turns:
            client = self._turns[0].client
            line = self._lines[client]
            item = line.items[0]
            if not item.entry.gone and item.entry.deadline > now:
                return item
            if not item.entry.gone:
                expired.append(item)
            self._advance(client, line, spent=0)
        return None

    def pop(self) -> None:
        """Take the text that `next` gave."""
        turn = self._turns[0]
        line = self._lines[turn.client]
        self._round = max(self._round, turn.round)
        self._advance(turn.client, line, spent=line.items[0].cost)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._turns.clear()

    def _advance(self, client: str, line: _Line, spent: int) -> None:
        """The head of the first line is gone: find when the one behind it is due."""
        line.items.popleft()
        line.spent += spent
        heapq.heappop(self._turns)
        if line.items:
            self._schedule(client, line)
        else:
            del self._lines[client]

    def _schedule(self, client: str, line: _Line) -> None:
        """The round at whose beginning the client has saved up for its next text."""
        needed = line.spent + line.items[0].cost
        rounds = -(-needed // self._quantum)
        heapq.heappush(self._turns, _Turn(line.began + rounds, line.number, client))
