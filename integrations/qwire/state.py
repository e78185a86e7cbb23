"""What a client has learnt, and one request on its way. Shared by both clients; sends nothing."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwire.budget import RetryBudget
from qwire.config import call_metadata
from qwire.errors import ClosedError
from qwire.failures import Failure, to_error
from qwire.results import check_fingerprint
from qwire.retry import delay_before_retry, is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire.config import Config
    from qwire.errors import QwireError
    from qwire.info import Description
    from qwire.jobs import Request


@dataclass
class State:
    """What a client is and has learnt; any thread may write, each field whole."""

    config: Config
    closed: bool = False
    reached: bool = False  # something of Qwire's has answered
    description: Description | None = None
    retries: RetryBudget = field(default_factory=RetryBudget)
    # Of several servers: the fingerprint of the first answer, of vectors and of scores.
    seen: dict[str, str] = field(default_factory=dict)

    def check_same_model(self, options: Any, reply: Any) -> None:
        """Several servers behind one target must have one model.

        Args:
            options: of the request; one that expects a fingerprint has its answer checked anyway.
            reply: the answer to it.

        Raises:
            FingerprintMismatchError: another server answered with another model before.
        """
        if self.config.address.several and reply.fingerprint and not options.expected_fingerprint:
            kind = type(options).__name__
            check_fingerprint(reply.fingerprint, self.seen.setdefault(kind, reply.fingerprint))

    def check_open(self) -> None:
        """Raise ClosedError after `close`."""
        if self.closed:
            raise ClosedError("this client was closed: make a new one")

    @contextmanager
    def closing_told(self) -> Iterator[None]:
        """Where a call begins: gRPC has a ValueError for a channel that was closed just then."""
        try:
            yield
        except ValueError:
            self.check_open()
            raise


class Clock:
    """Seconds that the client itself took: it stands while the caller's code runs.

    So a loop that works an hour on an answer costs its stream neither patience nor budget.
    """

    def __init__(self) -> None:
        self._away = 0.0
        self._stopped: float | None = None

    def now(self) -> float:
        """Seconds since some moment."""
        return (time.monotonic() if self._stopped is None else self._stopped) - self._away

    def stop(self) -> None:
        """The caller's code runs now."""
        self._stopped = time.monotonic()

    def go_on(self) -> None:
        """The caller's code is back."""
        if self._stopped is not None:
            self._away += time.monotonic() - self._stopped
            self._stopped = None


# Parts of a `timeout` after which texts go over a stream, which shows progress, instead of a unary
# call. The server is asked to refuse a call at once if it expects it to take longer than the first
# part. The second is for a server that expected too little; the rest is left for the stream.
_EXPECTED_PART = 0.5
_UNARY_PART = 0.75
_BETTER_STREAMED = frozenset({"OVERLOADED", "QUOTA_EXCEEDED", "DEADLINE_EXCEEDED"})


@dataclass
class CallLimits:
    """How long the requests of one call may take.

    Attributes:
        timeout: seconds for each request, retries included.
        max_attempts: see `retry.delay_before_retry`.
        deadline: end of the whole call on the monotonic clock; None if the caller gave none.
        may_stream: whether what takes longer goes over a stream instead, which has its own
            patience: `timeout` is then the time without progress.
        progressed_at: when the server last answered or refused, on the monotonic clock.
    """

    timeout: float
    max_attempts: int
    deadline: float | None = None
    may_stream: bool = False
    progressed_at: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds that a request may take if it begins now, retries included."""
        if self.deadline is None:
            return self.timeout
        return max(self.deadline - time.monotonic(), 0.001)


@dataclass
class Try:
    """One request on its way, however often it is sent."""

    request: Request
    limits: CallLimits
    started: float = field(default_factory=time.monotonic)
    attempts: int = 0
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.timeout = self.limits.seconds

    def seconds_left(self) -> float:
        """Until the deadline; a little more than nothing, as gRPC takes 0 for no time at all."""
        left = max(self.started + self.timeout - time.monotonic(), 0.001)
        return min(left, self.timeout * _UNARY_PART) if self.limits.may_stream else left

    def metadata(self, config: Config) -> list[tuple[str, str]]:
        """The headers of the next call."""
        headers = call_metadata(config, self.request_id)
        if self.limits.may_stream:
            milliseconds = int(self.timeout * _EXPECTED_PART * 1000)
            headers.append(("qwire-max-wait-ms", str(milliseconds)))
        return headers

    def is_better_streamed(self, failure: Failure, state: State) -> bool:
        """Whether the texts of this request, which failed so, are to go over a stream."""
        state.reached = state.reached or failure.is_word
        if not self.limits.may_stream:
            return False
        if failure.code is None:
            return failure.status == "DEADLINE_EXCEEDED"
        self.limits.progressed_at = time.monotonic()
        return failure.code in _BETTER_STREAMED

    def delay(self, failure: Failure, state: State) -> float | None:
        """Seconds until it may be sent again; None if it is lost."""
        state.reached = state.reached or failure.is_word
        now = time.monotonic()
        delay = delay_before_retry(
            self.attempts,
            failure,
            now - self.started,
            self.timeout,
            reached=state.reached,
            max_attempts=self.limits.max_attempts,
        )
        if delay is None or not is_refusal(failure):
            return delay
        return state.retries.take(now, delay, latest=self.started + self.timeout - now)

    def error(self, failure: Failure, state: State) -> QwireError:
        """What the caller gets to see."""
        if state.closed:
            return ClosedError("the client was closed while this call was under way")
        return to_error(
            failure,
            state.config.address,
            offset=self.request.run.start,
            request_id=self.request_id,
            timeout=self.limits.timeout,
        )


def sign(error: QwireError, state: State, request_id: str) -> QwireError:
    """Say on an error that was found in a reply where the reply came from."""
    error.target = error.target or state.config.address.target
    error.request_id = error.request_id or request_id
    return error
