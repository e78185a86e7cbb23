"""What the fronts ask of what lies behind the seam: room for work, and an engine that does it.

In one process that is a `Room` and an `Engine`; a front of several has both in other processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from qwire_server.engine.queue.admission import Asker
    from qwire_server.engine.queue.line import Patience
    from qwire_server.engine.work import Work


class Hold(Protocol):
    """Device time that one work holds, given back part by part and never twice.

    Attributes:
        cost: microseconds, what is given back not counted.
        device: where the work is to be done; 0 is the first.
    """

    cost: int
    device: int

    async def become(self, cost: int, tokens: int, patience: Patience = ...) -> None:
        """Replace the estimate by what the true tokens cost, and charge them to the client.

        Args:
            cost: microseconds of device time.
            tokens: of all texts.
            patience: how long the caller waits; without end by default.

        Raises:
            DeadlineExceeded: it cannot be answered in time.
        """

    def answered(self, cost: int) -> None:
        """A part was computed."""

    def release(self) -> None:
        """All was answered, or nobody waits for it any more."""


class Desk(Protocol):
    """Lets work in: at once, or after a wait."""

    async def take(self, asker: Asker, cost: int, size: int, patience: Patience) -> Hold:
        """Hold as soon as there is room, or refuse.

        Args:
            asker: whose work it is.
            cost: microseconds of device time, likely.
            size: bytes of the texts, in memory.
            patience: how long the caller waits.

        Raises:
            QuotaExceeded: the client has used what it may.
            Overloaded: it would wait, or waited, longer than it may, or too much waits.
            DeadlineExceeded: it would come too late, or its deadline passed while it waited.
        """

    async def wait(self, asker: Asker, cost: int) -> Hold:
        """Hold as soon as the client's quota and the queue have room; never refuse."""

    def stream(self, client: str) -> AbstractAsyncContextManager[None]:
        """Count a stream while it is open.

        Raises:
            QuotaExceeded: the client has too many; on entering.
        """

    def stall(self, client: str) -> None:
        """A counted stream was given up because its client does not read."""

    def unstall(self, client: str) -> None:
        """The transport let go of it at last."""


class Worker(Protocol):
    """Does the work that was let in; answers come another way, by the work's key."""

    def submit(self, work: Work) -> None:
        """Accept a work; each of its texts is answered, whatever breaks."""

    def cancel(self, key: int) -> None:
        """Forget a work whose caller has gone."""
