"""One batch on its way through the device, and the record of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwire_server.engine.observer import BatchRecord
from qwire_server.engine.work import RequestClass

if TYPE_CHECKING:
    from qwire_server.engine.batch import Done
    from qwire_server.engine.queue.backlog import Taken
    from qwire_server.engine.queue.item import Item
    from qwire_server.engine.runner import Model
    from qwire_server.model.launched import Launched


@dataclass(slots=True)
class Flight:
    """A batch between its launch and its answers. Times in microseconds.

    Attributes:
        cost: estimated, the forward's own part included.
        began: when its launch began.
        launched: what is waited for; None once it failed, or if nothing was to be computed.
        error: why it must be run again in parts.
        done: its answers, once there are any.
        seconds: that the device worked on it.
        ended: when it was done.
        saved: tokens of each text that were not computed; empty if all were.
        starved: that the device had no work before, though a text of this batch waited.
    """

    taken: Taken
    model: Model
    cost: int
    began: int
    launched: Launched | None = None
    error: Exception | None = None
    done: Done | None = None
    seconds: float = 0.0
    ended: int = 0
    saved: list[int] = field(default_factory=list)
    starved: int = 0

    @property
    def items(self) -> list[Item]:
        """To be computed."""
        return self.taken.items

    @property
    def texts(self) -> list[Item]:
        """To be answered: those that have expired, too."""
        return self.taken.items + self.taken.expired

    @property
    def tokens(self) -> int:
        """Of the texts that are computed."""
        return sum(item.tokens for item in self.items)

    @property
    def since(self) -> int:
        """When the text that has waited longest came."""
        return min(item.entry.since for item in self.items)

    def record(self, done: Done) -> BatchRecord:
        """What an observer is told of it."""
        bulk = (i for i in self.items if i.entry.work.request_class is RequestClass.BULK)
        return BatchRecord(
            model=self.items[0].entry.work.model,
            texts=len(self.items),
            tokens=self.tokens,
            saved_tokens=sum(self.saved),
            bulk_tokens=sum(item.tokens for item in bulk),
            estimated_seconds=self.cost / 1e6,
            compute_seconds=self.seconds,
            starved_seconds=self.starved / 1e6,
            fill=self.taken.fill,
            waited_seconds=(self.began - self.since) / 1e6,
            expired=len(self.taken.expired),
            failed=done.failed,
            splits=done.splits,
            not_finite=done.not_finite,
            retried=done.retried,
            flops=self.model.arithmetic.flops([item.tokens for item in self.items], self.saved),
        )
