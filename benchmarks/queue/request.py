"""One request, or one chunk of a stream, from its arrival to its one end."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qwire_server.engine.queue.admission import Asker
from qwire_server.engine.queue.item import Entry
from qwire_server.engine.work import RowForm, Work

if TYPE_CHECKING:
    from qwire_server.engine.work import RequestClass

NEVER = float("inf")
_NO_IDS = np.zeros(0, np.int32)
_FORM = RowForm(8)


class End(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the queue was full until the client gave up
    DENIED = "denied"  # told at once that its deadline cannot be met
    EXPIRED = "expired"  # let in or waiting, and not answered by its deadline


class Caller(Protocol):
    """Whoever sent a request."""

    def let_in(self, request: Request) -> None:
        """There is room for this chunk now."""

    def denied(self, request: Request) -> None:
        """It waited, and would be answered too late now that its true cost is known."""

    def answered(self, request: Request, texts: int) -> None:
        """So many of its texts are computed."""


class Request(Entry):
    """The engine's entry, and what the simulator keeps beside it.

    Attributes:
        tokens: of each text.
        guess: tokens of each text as guessed from its bytes.
        born: when it was first sent, microseconds.
        began: when the batch of its last text so far began.
        tries: times it was offered.
        admitted: was let in.
        waiting: waits for room.
        held: device time that it holds, where a policy counts that.
        end: None while it is under way.
        streamed: a chunk of a stream.
        probe: was to be denied, and is let in to see what becomes of it.
    """

    __slots__ = (
        "admitted",
        "asker",
        "began",
        "born",
        "caller",
        "end",
        "guess",
        "held",
        "probe",
        "streamed",
        "tokens",
        "tries",
        "waiting",
    )

    def __init__(
        self,
        caller: Caller,
        client: str,
        request_class: RequestClass,
        tokens: list[int],
        guess: list[int],
        *,
        born: int,
        timeout: float = NEVER,
        streamed: bool = False,
    ) -> None:
        """`timeout` is in seconds from `born`."""
        super().__init__(
            Work(
                key=0,  # nothing is looked up by it here
                token_ids=[_NO_IDS] * len(tokens),
                costs=[],
                form=_FORM,
                model="",
                request_class=request_class,
                deadline=born / 1e6 + timeout,
                client=client,
            ),
            born,
        )
        self.caller = caller
        self.asker = Asker(client, request_class)
        self.tokens = tokens
        self.guess = guess
        self.born = born
        self.began = born
        self.tries = 0
        self.held = 0
        self.end: End | None = None
        self.probe = False
        self.admitted = False
        self.waiting = False
        self.streamed = streamed
