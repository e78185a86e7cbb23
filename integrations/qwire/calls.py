"""Unary calls of the sync client: several in flight without threads, each tried again in its time.

The decisions are in `retry`; the clock and the sockets are here.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from typing import TYPE_CHECKING, Any

from qwire.config import call_metadata
from qwire.errors import QwireError
from qwire.failures import read_failure
from qwire.interrupt import uninterrupted
from qwire.state import Try, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qwire.channels import Link, Method
    from qwire.jobs import Request
    from qwire.state import State


def call_all(
    state: State,
    link: Link,
    method: Method,
    requests: Iterable[Request],
    on_reply: Callable[[range, Any], None],
    *,
    timeout: float,
    window: int,
    max_attempts: int,
) -> None:
    """Send all requests, at most `window` at a time, and hand over each reply as it comes.

    Returns when every reply was handed over. Raises the first error, having cancelled the rest.

    Args:
        state: of the client.
        link: the channel to use.
        method: what to call.
        requests: taken one by one, as there is room.
        on_reply: gets the request's run and the reply.
        timeout: seconds for each request, retries included.
        window: most requests in flight.
        max_attempts: see `retry.delay_before_retry`.
    """
    todo = iter(requests)
    answers: queue.SimpleQueue[tuple[Try, Any]] = queue.SimpleQueue()
    pausing: list[tuple[float, int, Try]] = []  # a heap by time
    flying: set[Any] = set()
    order = itertools.count()

    def send(attempt: Try) -> None:
        state.check_open()
        attempt.attempts += 1
        metadata = call_metadata(state.config, attempt.request_id)
        start = link.unary(method).future
        with uninterrupted():
            call = start(attempt.request.message, timeout=attempt.seconds_left(), metadata=metadata)
            flying.add(call)
            link.calls.add(call)
            call.add_done_callback(lambda done: answers.put((attempt, done)))

    try:
        while True:
            room = window - len(flying) - len(pausing)
            for request in itertools.islice(todo, room):
                send(Try(request, timeout, max_attempts))
            while pausing and pausing[0][0] <= time.monotonic():
                send(heapq.heappop(pausing)[2])
            if not flying and not pausing:
                return
            answer = _next_answer(answers, pausing)
            if answer is None:
                continue
            attempt, call = answer
            flying.discard(call)
            link.calls.discard(call)
            delay = _settle(state, attempt, call, on_reply)
            if delay is not None:
                heapq.heappush(pausing, (time.monotonic() + delay, next(order), attempt))
    finally:
        with uninterrupted():
            for call in flying:
                link.calls.discard(call)
                call.cancel()


def _next_answer(
    answers: queue.SimpleQueue[tuple[Try, Any]], pausing: list[tuple[float, int, Try]]
) -> tuple[Try, Any] | None:
    """Wait for a call to end; None once the first pause is over."""
    wait = max(0.0, pausing[0][0] - time.monotonic()) if pausing else None
    try:
        return answers.get(timeout=wait)
    except queue.Empty:
        return None


def _settle(
    state: State, attempt: Try, call: Any, on_reply: Callable[[range, Any], None]
) -> float | None:
    """Hand over the reply, or say how long to wait before another try, or raise."""
    with uninterrupted():
        failure = None if call.code().name == "OK" else read_failure(call)
        reply = call.result() if failure is None else None
    if failure is None:
        state.reached = True
        try:
            on_reply(attempt.request.run, reply)
        except QwireError as error:
            sign(error, state, attempt.request_id)
            raise
        return None
    delay = None if state.closed else attempt.delay(failure, state)
    if delay is None:
        raise attempt.error(failure, state) from call
    return delay
