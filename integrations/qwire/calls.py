"""Unary calls of the sync client: several in flight without threads, each tried again in its time.

The decisions are in `retry`; the clock and the sockets are here.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from typing import TYPE_CHECKING, Any

from qwire.errors import QwireError
from qwire.exits import see_out_call
from qwire.failures import Failure, read_failure
from qwire.interrupt import LOOK_UP_SECONDS, uninterrupted
from qwire.state import Try, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from qwire.channels import Link, Method
    from qwire.jobs import Request
    from qwire.state import CallLimits, State


# In place of a pause: the request is to be sent over a stream.
TO_STREAM = -1.0
# How much later than its deadline a call may end before gRPC is not believed any more.
_GRACE_SECONDS = 1.0


def call_all(
    state: State,
    link: Link,
    method: Method,
    requests: Iterable[Request],
    on_reply: Callable[[range, Any], None],
    *,
    limits: CallLimits,
    window: int,
) -> bool:
    """Send requests, at most `window` at a time, and hand over each reply as it comes.

    Returns when every reply was handed over. Raises the first error, having cancelled the rest.

    Returns:
        Whether all were answered. If not, `limits` let the rest go over a stream, and the server
        is too busy or too slow for calls that show no progress.

    Args:
        state: of the client.
        link: the channel to use.
        method: what to call.
        requests: taken one by one, as there is room.
        on_reply: gets the request's run and the reply.
        limits: how long they may take.
        window: most requests in flight.
    """
    todo = iter(requests)
    streamed = False  # whether some request is to go over a stream
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pausing: list[tuple[float, int, Try]] = []  # a heap by time
    flying: dict[Any, Try] = {}
    order = itertools.count()

    def send(attempt: Try) -> None:
        state.check_open()
        attempt.attempts += 1
        metadata = attempt.metadata(state.config)
        start = link.unary(method).future
        with uninterrupted(), state.closing_told():
            call = start(attempt.request.message, timeout=attempt.seconds_left(), metadata=metadata)
            flying[call] = attempt
            link.calls.add(call)
            call.add_done_callback(answers.put)
            see_out_call(call)

    try:
        while True:
            room = 0 if streamed else window - len(flying) - len(pausing)
            for request in itertools.islice(todo, room):
                send(Try(request, limits))
            while pausing and pausing[0][0] <= time.monotonic():
                send(heapq.heappop(pausing)[2])
            if not flying and not pausing:
                return not streamed
            call = _next_answer(answers, _wake_at(flying.values(), pausing))
            if call is None:
                _check_overdue(state, flying.values())
                continue
            attempt = flying.pop(call)
            link.calls.discard(call)
            delay = _settle(state, attempt, call, on_reply)
            if delay == TO_STREAM:
                streamed = True
            elif delay is not None:
                heapq.heappush(pausing, (time.monotonic() + delay, next(order), attempt))
    finally:
        with uninterrupted():
            for call in flying:
                link.calls.discard(call)
                call.cancel()


def _wake_at(flying: Collection[Try], pausing: list[tuple[float, int, Try]]) -> float:
    """When to look up from waiting: the next pause is over, or gRPC missed a deadline."""
    times = [attempt.started + attempt.timeout + _GRACE_SECONDS for attempt in flying]
    return min([*times, pausing[0][0]] if pausing else times)


def _next_answer(answers: queue.SimpleQueue[Any], until: float) -> Any:
    """Wait for a call to end; None if none does until then, or for a while."""
    try:
        return answers.get(timeout=min(max(0.0, until - time.monotonic()), LOOK_UP_SECONDS))
    except queue.Empty:
        return None


def _check_overdue(state: State, flying: Collection[Try]) -> None:
    """Keep the deadline where gRPC does not: its clock may have stopped in a forked child."""
    for attempt in flying:
        if time.monotonic() >= attempt.started + attempt.timeout + _GRACE_SECONDS:
            details = "gRPC did not keep the deadline; was this process forked during a call?"
            raise attempt.error(Failure("DEADLINE_EXCEEDED", details=details), state)


def _settle(
    state: State, attempt: Try, call: Any, on_reply: Callable[[range, Any], None]
) -> float | None:
    """Hand over the reply, or say how long to wait before another try, or raise.

    Returns:
        Seconds, None if the reply was handed over, or `TO_STREAM`.
    """
    with uninterrupted():
        failure = None if call.code().name == "OK" else read_failure(call)
        reply = call.result() if failure is None else None
    if failure is None:
        state.reached = True
        state.retries.answered()
        attempt.limits.progressed_at = time.monotonic()
        try:
            on_reply(attempt.request.run, reply)
        except QwireError as error:
            sign(error, state, attempt.request_id)
            raise
        return None
    if not state.closed and attempt.is_better_streamed(failure, state):
        return TO_STREAM
    delay = None if state.closed else attempt.delay(failure, state)
    if delay is None:
        raise attempt.error(failure, state) from call
    return delay
