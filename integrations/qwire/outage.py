"""When a stream that lost its server tries again, and which losses its texts may be to blame for.

Policy on plain data, as `retry` is for unary calls. Knows nothing about clocks or sockets.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from qwire.failures import Failure
from qwire.retry import is_retryable, jittered

if TYPE_CHECKING:
    from collections.abc import Callable

# Long enough for a server to be replaced and to load its model. A count of tries would not do:
# where nothing listens they fail in no time.
RECONNECT_SECONDS = 120.0
# So often may a server die with a text in flight before that text is suspected.
MAX_DEATHS = 3

# How the end of a call looks that we made ourselves, because the server said nothing any more.
SILENCE = Failure("UNAVAILABLE", details="silence")

# Only a connection that once stood breaks in these words; before it stood, gRPC says "failed to
# connect" first (ran: where nothing listens, where TLS meets none, and behind a proxy that takes
# connections for a server that is gone, and closes them). An HTTP proxy's words are not known, so
# its 503 accuses no text.
_NOT_CONNECTED = "failed to connect"
_BROKE = (
    *("Socket closed", "recvmsg", "reset by peer", "Broken pipe", "connection termination"),
    *("RST_STREAM", "Internal error from Core", "Stream removed", "GOAWAY"),
)


class Outage:
    """The tries since the server last did something for this stream."""

    def __init__(
        self, seconds: float, max_attempts: int, draw: Callable[[], float] = random.random
    ) -> None:
        self.attempts = 0
        self.resume_at = 0.0  # no new call before
        self._seconds = seconds
        self._max_attempts = max_attempts
        self._draw = draw
        self._since: float | None = None

    def __repr__(self) -> str:
        return f"<Outage since={self._since} attempts={self.attempts}>"

    def is_over(self) -> None:
        """The server did something."""
        self.attempts = 0
        self._since = None

    def begin_pause(
        self, failure: Failure | None, now: float, since: float, *, reached: bool
    ) -> bool:
        """Another call was lost at `now`: whether there will be one more, not before `resume_at`.

        Args:
            failure: how it ended; None is OK, with texts unanswered.
            now: seconds.
            since: when the outage began, if this is its first loss, seconds.
            reached: whether anything of Qwire's has ever answered this client. One that never was
                reached gets a few quick tries: a wrong address does not heal.
        """
        self.attempts += 1
        if self._since is None:
            self._since = since
        if self._max_attempts == 1 or not may_reconnect(failure):
            return False
        if not reached and self.attempts >= self._max_attempts:
            return False
        delay = jittered(self.attempts, failure.retry_after if failure else None, self._draw)
        self.resume_at = now + delay
        return self.resume_at < self._since + self._seconds


def may_reconnect(failure: Failure | None) -> bool:
    """Whether a new call may do better: the transport was lost, or the server drains or loads."""
    return failure is None or failure.may_be_lost_transport or is_retryable(failure)


def is_death(failure: Failure | None, *, heard: bool) -> bool:
    """Whether a server was there and broke off, so that a text in flight may be why.

    Args:
        failure: how the call ended; None is OK, with texts unanswered.
        heard: whether any reply came in this call.
    """
    if failure is None:
        return True
    if failure.code is not None:
        return False
    if _NOT_CONNECTED in failure.details:
        return False
    return heard or any(words in failure.details for words in _BROKE)
