"""The order of waiting work: a pure, clock-free, lock-free policy.

Interactive items go first, a share of every batch is kept for bulk, and inside a class it is first
come, first served. The caller holds the lock and supplies the tokens that fit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qwire_server.engine.work import TokenIds, Work


class Entry:
    """A work while the engine holds it: what is still unanswered, and whether anybody waits."""

    __slots__ = ("gone", "unanswered", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.unanswered = len(work.token_ids)
        self.gone = False


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One text of a work, waiting for a batch."""

    entry: Entry
    index: int
    token_ids: TokenIds

    @property
    def cost(self) -> int:
        """Share of a batch's budget, in tokens."""
        return len(self.token_ids)


class Backlog:
    """Items that wait, by class.

    When both classes wait, bulk earns `bulk_share` of each batch's budget and spends what it
    earned before interactive items are taken; what a batch has left over is anybody's. So neither
    class can starve the other, whatever the sizes of its items.
    """

    def __init__(self, bulk_share: float) -> None:
        self._bulk_share = bulk_share
        self._bulk_credit = 0.0
        self._waiting: dict[RequestClass, deque[Item]] = {c: deque() for c in RequestClass}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __repr__(self) -> str:
        counts = ", ".join(f"{c.name.lower()} {len(q)}" for c, q in self._waiting.items())
        return f"<Backlog {counts}>"

    def push(self, items: Iterable[Item], request_class: RequestClass) -> None:
        """Append items in their order."""
        self._waiting[request_class].extend(items)

    def take(self, budget: int) -> list[Item]:
        """Pop the next batch: items of one model that fit `budget` tokens together.

        An item larger than the whole budget goes alone, so that it cannot wait for ever. Items
        whose caller has gone are dropped on the way.
        """
        interactive, bulk = (self._waiting[c] for c in RequestClass)
        _drop_gone(interactive)
        _drop_gone(bulk)
        batch: list[Item] = []
        if interactive and bulk:
            self._bulk_credit += self._bulk_share * budget
            self._bulk_credit -= _fill(batch, bulk, budget, within=self._bulk_credit)
        else:
            self._bulk_credit = 0
        _fill(batch, interactive, budget)
        left_over = _fill(batch, bulk, budget)
        self._bulk_credit = max(0, self._bulk_credit - left_over)
        return batch

    def clear(self) -> list[Item]:
        """Pop everything, in order."""
        items = [item for waiting in self._waiting.values() for item in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return items


def _drop_gone(waiting: deque[Item]) -> None:
    while waiting and waiting[0].entry.gone:
        waiting.popleft()


def _fill(
    batch: list[Item], waiting: deque[Item], budget: int, within: float = float("inf")
) -> int:
    """Move items from `waiting` to `batch` while they fit; return the tokens moved."""
    used = sum(item.cost for item in batch)
    moved = 0
    while waiting:
        item = waiting[0]
        if item.entry.gone:
            waiting.popleft()
            continue
        fits = not batch or used + item.cost <= budget
        same_model = not batch or item.entry.work.model == batch[0].entry.work.model
        if not (fits and same_model and moved + item.cost <= within):
            break
        batch.append(waiting.popleft())
        used += item.cost
        moved += item.cost
    return moved
