"""Whose turn it is inside a class: deficit round robin between clients, by cost.

In each round a client may spend one quantum of device time; what its last text cost beyond that it
owes, and it sits out the rounds until that is paid, even if it had nothing waiting meanwhile.
Inside a client it is first come, first served. Two clients that both wait never differ by more than
a quantum and one text, and a newcomer waits for at most that of each other client. After Shreedhar
and Varghese, "Efficient fair queuing using deficit round robin" (1996), with debts instead of
savings, so that nothing has to be known of a text before its turn.

The rounds are not walked: a heap holds the round in which each client's turn comes next, so a step
costs O(log clients), however dear a text or many the clients.
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
_MANY = 1_000  # debts that are no trouble to remember


class _Turn(NamedTuple):
    """When a client may go on: rounds first, then the order in which clients came."""

    round: int
    number: int
    client: str


class _Line:
    """One client's texts, and what it has spent since the round in which it came."""

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
        self._owing: dict[str, int] = {}  # clients without a line: the round until which they owe

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
        """Append to a client's line, at least one text."""
        line = self._lines.get(client)
        if line is None:
            began = max(self._round, self._owing.pop(client, 0))
            line = self._lines[client] = _Line(began, next(self._numbers))
            self._schedule(client, line)
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
        self._owing.clear()

    def _advance(self, client: str, line: _Line, spent: int) -> None:
        """The head of the first line is gone: find when the next turn of its client is."""
        line.items.popleft()
        line.spent += spent
        heapq.heappop(self._turns)
        if line.items:
            self._schedule(client, line)
            return
        del self._lines[client]
        if not self._lines:
            self._owing.clear()  # the device was shared with nobody: nothing is owed
        elif (owing := self._due(line)) > self._round:
            self._owing[client] = owing
            self._forgive()

    def _schedule(self, client: str, line: _Line) -> None:
        heapq.heappush(self._turns, _Turn(self._due(line), line.number, client))

    def _due(self, line: _Line) -> int:
        """The round in which what was spent is paid for."""
        return line.began + line.spent // self._quantum

    def _forgive(self) -> None:
        """Forget debts that time has paid, now and then."""
        if len(self._owing) > 2 * len(self._lines) + _MANY:
            self._owing = {c: until for c, until in self._owing.items() if until > self._round}
