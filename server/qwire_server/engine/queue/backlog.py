"""The order of waiting work: two classes, and what of them goes into the next batch.

Interactive texts go first, a share of every batch is kept for bulk, and inside a class clients take
turns. While questions come, a batch is short, so that the next question finds the device free soon;
otherwise it is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine.queue.turns import Turns
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from qwire_server.engine.queue.item import Item

LATELY = 10_000_000  # microseconds after a question during which the next one is expected
_UNBOUNDED = 2**62


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch may hold.

    Attributes:
        tokens: what fits the device's memory and fills it.
        launch: microseconds of device time while questions have come lately.
        bulk_share: part of the device time kept for bulk while both classes wait, 0 to 0.5.
        texts: with 1, no row depends on its company in the batch.
    """

    tokens: int
    launch: int = 15_000
    bulk_share: float = 0.2
    texts: int = _UNBOUNDED


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch, and what was found on the way to it.

    Attributes:
        items: to be computed; may be empty if `expired` is not.
        expired: to be answered and not computed.
        fill: how full of its nearer limit the batch is, 0 to 1; None if nothing was left waiting.
    """

    items: list[Item]
    expired: list[Item]
    fill: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one client has waiting in one class; `since` is when the oldest came, microseconds."""

    request_class: RequestClass
    client: str
    texts: int
    cost: int
    since: int


class Backlog:
    """Texts that wait, by class and client.

    While both classes wait, bulk earns its share of each batch's cost, and what it has earned it
    spends before interactive texts are taken. What a batch has left over is anybody's; where
    questions are in it, only up to its half. So neither class can starve the other, whatever the
    sizes of its texts.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._bulk_credit = 0.0
        self._last_question = -LATELY - 1
        self._waiting: dict[RequestClass, Turns] = {c: Turns() for c in RequestClass}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def __repr__(self) -> str:
        counts = ", ".join(f"{c.name.lower()} {len(q)}" for c, q in self._waiting.items())
        return f"<Backlog {counts}>"

    def push(self, items: list[Item], now: int) -> None:
        """Append texts of one request, at least one, in their order; it came at `now`."""
        work = items[0].entry.work
        self._waiting[work.request_class].push(work.client, items)
        if work.request_class is RequestClass.INTERACTIVE:
            self._last_question = now

    def launch_bound(self, now: int) -> int | None:
        """Microseconds that one batch may take now; None if any that fits its tokens may run."""
        return self._limits.launch if now - self._last_question <= LATELY else None

    def take(self, now: int, overhead: int = 0, tokens: int | None = None) -> Taken:
        """Take the next batch: texts of one model, within the limits together.

        A text that alone exceeds a limit goes alone, so that it cannot wait for ever and holds
        nobody longer than its own forward.

        Args:
            now: microseconds.
            overhead: microseconds of a forward before its first text, and of what runs before it.
            tokens: most of this batch; as the limits say by default.
        """
        interactive = self._waiting[RequestClass.INTERACTIVE]
        bulk = self._waiting[RequestClass.BULK]
        bound = self.launch_bound(now)
        room = _UNBOUNDED if bound is None else bound - overhead
        batch = _Batch(tokens or self._limits.tokens, self._limits.texts, room, now)
        both = batch.next(interactive) and batch.next(bulk)
        spent = batch.fill(bulk, within=self._bulk_credit) if both else 0
        asked = batch.fill(interactive)
        if asked and bound is not None and not batch.next(interactive):
            # What fills up a question's batch the question waits for: half a batch at most.
            batch.shorten(bound // 2)
        spent += batch.fill(bulk)
        earned = self._limits.bulk_share * batch.cost
        self._bulk_credit = max(0.0, self._bulk_credit + earned - spent) if both else 0.0
        more = batch.next(interactive) or batch.next(bulk)
        return Taken(batch.items, batch.expired, batch.fullness() if more else None)

    def clear(self) -> list[Item]:
        """Take everything."""
        items = [item for turns in self._waiting.values() for item in turns]
        for turns in self._waiting.values():
            turns.clear()
        return items

    def waiting(self) -> list[Waiting]:
        """What waits, by class and client."""
        return [
            Waiting(request_class, client, texts, cost, since)
            for request_class, turns in self._waiting.items()
            for client, texts, cost, since in turns.summary()
        ]


class _Batch:
    """A batch in the making."""

    def __init__(self, tokens: int, texts: int, cost: int, now: int) -> None:
        self.items: list[Item] = []
        self.expired: list[Item] = []
        self._now = now
        self._texts = texts
        self._tokens = self._tokens_left = tokens
        self._cost = self._cost_left = max(1, cost)

    def shorten(self, cost: int) -> None:
        """Take no more than this cost from now on, or than was taken already."""
        taken = self.cost
        self._cost = max(cost, taken, 1)
        self._cost_left = self._cost - taken

    @property
    def cost(self) -> int:
        """Microseconds taken so far."""
        return self._cost - self._cost_left

    def next(self, turns: Turns) -> Item | None:
        """Whose turn it is there."""
        return turns.next(self._now, self.expired)

    def fill(self, turns: Turns, within: float = _UNBOUNDED) -> int:
        """Take texts in their turn while they fit; return the cost taken, at most `within`."""
        moved = 0
        while (item := self.next(turns)) and self._fits(item) and moved + item.cost <= within:
            turns.pop()
            self.items.append(item)
            self._tokens_left -= item.tokens
            self._cost_left -= item.cost
            moved += item.cost
        return moved

    def fullness(self) -> float:
        """Of the limit that is nearer, 0 to 1."""
        left = min(self._tokens_left / self._tokens, self._cost_left / self._cost)
        return min(1.0, max(1 - left, len(self.items) / self._texts))

    def _fits(self, item: Item) -> bool:
        if not self.items:
            return True
        return (
            len(self.items) < self._texts
            and item.entry.work.model == self.items[0].entry.work.model
            and item.tokens <= self._tokens_left
            and item.cost <= self._cost_left
        )
