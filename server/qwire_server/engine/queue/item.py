"""What waits: a request, and each of its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwire_server.engine.work import Work


class Entry:
    """A work while the engine holds it: what is still unanswered, and whether anybody waits.

    Attributes:
        since: when it came, microseconds.
        deadline: microseconds; infinity if there is none.
        gone: nobody waits for it any more.
    """

    __slots__ = ("deadline", "gone", "since", "unanswered", "work")

    def __init__(self, work: Work, since: int = 0) -> None:
        self.work = work
        self.since = since
        self.deadline = work.deadline * 1e6
        self.unanswered = len(work.token_ids)
        self.gone = False


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One text of a work, waiting for a batch.

    Attributes:
        entry: its work.
        index: its position there.
        tokens: what it takes of a batch's tokens.
        cost: microseconds of device time, as estimated when it came.
    """

    entry: Entry
    index: int
    tokens: int
    cost: int
