"""When to try again: policy on plain data. Knows nothing about clocks or sockets."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire.failures import Failure

# The first pause is short, because a server that restarts may be back at once; the longest is short
# as well, because whoever waits here has a deadline of its own.
BASE_SECONDS = 0.1
CAP_SECONDS = 2.0

# How a connection that broke under a unary call names itself, beside UNAVAILABLE.
_LOST = ("RST_STREAM", "Internal error from Core", "Stream removed", "onnection reset", "GOAWAY")
_REFUSALS = frozenset({"OVERLOADED", "QUOTA_EXCEEDED"})


def delay_before_retry(
    attempt: int,
    failure: Failure,
    elapsed: float,
    deadline: float,
    *,
    reached: bool,
    max_attempts: int,
    draw: Callable[[], float] = random.random,
) -> float | None:
    """Seconds to wait before the next try; None means give up.

    A client that has reached its target before rides until the deadline, through a restart for
    example; one that never has gives up after `max_attempts`: a wrong address does not heal.
    `max_attempts=1` turns retries off altogether.

    Args:
        attempt: tries made so far, at least 1.
        failure: what the last one ended with.
        elapsed: seconds since the first try began.
        deadline: seconds allowed in all, counted as `elapsed` is.
        reached: whether anything of Qwire's has ever answered this client.
        max_attempts: most tries while nothing has been reached.
        draw: a number in [0, 1), the jitter.
    """
    if max_attempts == 1 or not is_retryable(failure):
        return None
    if not reached and attempt >= max_attempts:
        return None
    delay = jittered(attempt, failure.retry_after, draw)
    return delay if elapsed + delay < deadline else None


def jittered(attempt: int, retry_after: float | None, draw: Callable[[], float]) -> float:
    """Seconds to wait after so many tries."""
    ceiling: float = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, 10))
    # Full jitter; after a hint it comes on top, so that all who were refused do not return at once.
    return (retry_after or 0.0) + draw() * ceiling


def is_refusal(failure: Failure) -> bool:
    """Whether the server has no room for this client now, and says so."""
    # Without the server's word it is a message limit, and the same request would fail again.
    return failure.status == "RESOURCE_EXHAUSTED" and failure.code in _REFUSALS


def is_retryable(failure: Failure) -> bool:
    """Whether the same request may succeed on another try, and can do no harm."""
    return failure.status == "UNAVAILABLE" or is_refusal(failure) or is_lost_transport(failure)


def is_lost_transport(failure: Failure) -> bool:
    """Whether a connection broke, though the status says CANCELLED, INTERNAL or UNKNOWN."""
    if failure.code is not None:
        return False
    # We did not cancel it: a server with too many calls to look at dropped it, or a proxy did.
    if failure.status == "CANCELLED":
        return True
    if failure.status not in {"INTERNAL", "UNKNOWN"}:
        return False
    return any(words in failure.details for words in _LOST)
