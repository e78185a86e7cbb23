"""What a policy decides: who is let in, and what the device computes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmarks.queue.request import Request
    from qwire_server.engine.queue.backlog import Taken


class Policy(Protocol):
    """A queue.

    Attributes:
        window: tokens of one stream in flight.
    """

    window: int

    def offer(self, request: Request, now: int) -> bool:
        """Let a request in, or let it wait; its caller is told when it was let in after a wait.

        Returns:
            Whether it was let in at once.

        Raises:
            Overloaded: with or without a hint.
            DeadlineExceeded: it would come too late.
        """

    def probe(self, request: Request, now: int) -> None:
        """Let a request in that `offer` denied for its deadline, without one."""

    def wait(self, request: Request, now: int) -> None:
        """Let a chunk of a stream in as soon as there is room; its caller is told."""

    def take(self, now: int) -> Taken:
        """The next batch."""

    def computed(self, tokens: list[int], took: int) -> None:
        """A batch is done; it took so many microseconds."""

    def answered(self, request: Request, texts: int, cost: int, now: int) -> None:
        """Texts of a request were answered; `cost` is what its items said."""

    def cancel(self, request: Request, now: int) -> None:
        """Nobody waits for a request any more."""
