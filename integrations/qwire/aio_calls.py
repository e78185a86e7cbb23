"""Unary calls of the async client; what `calls` is to the sync one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from qwire.errors import QwireError
from qwire.failures import UNREADABLE, read_failure
from qwire.state import Try, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qwire.channels import Link, Method
    from qwire.jobs import Request
    from qwire.state import CallLimits, State

# In place of a reply: the request is to be sent over a stream.
TO_STREAM = object()


async def call_all(
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

    Parameters, result and errors are those of `calls.call_all`.
    """
    todo = iter(requests)
    streamed = False  # whether some request is to go over a stream

    async def work() -> None:
        nonlocal streamed
        # `todo` is shared: each worker takes the next request.
        while not streamed and (request := next(todo, None)) is not None:
            attempt = Try(request, limits)
            reply = await _call(state, link, method, attempt)
            if reply is TO_STREAM:
                streamed = True
                return
            limits.progressed_at = time.monotonic()
            try:
                on_reply(request.run, reply)
            except QwireError as error:
                sign(error, state, attempt.request_id)
                raise

    if window == 1:
        await work()
        return not streamed
    workers = [asyncio.ensure_future(work()) for _ in range(window)]
    try:
        await asyncio.gather(*workers)
        return not streamed
    finally:
        for worker in workers:
            worker.cancel()
        # Let them cancel their calls before the error goes out.
        await asyncio.gather(*workers, return_exceptions=True)


async def _call(state: State, link: Link, method: Method, attempt: Try) -> Any:
    """One request, tried again as the policy says, to its reply, or `TO_STREAM`."""
    while True:
        state.check_open()
        attempt.attempts += 1
        call = link.unary(method)(
            attempt.request.message,
            timeout=attempt.seconds_left(),
            metadata=attempt.metadata(state.config),
        )
        link.calls.add(call)
        try:
            error = await end_of(call)
        finally:
            link.calls.discard(call)
        if error is None:
            state.reached = True
            state.retries.answered()
            reply = await call
            if reply is None:
                raise attempt.error(UNREADABLE, state)
            return reply
        failure = read_failure(error)
        if not state.closed and attempt.is_better_streamed(failure, state):
            return TO_STREAM
        delay = None if state.closed else attempt.delay(failure, state)
        if delay is None:
            raise attempt.error(failure, state) from error
        await asyncio.sleep(delay)


async def end_of(call: Any) -> grpc.aio.AioRpcError | None:
    """Wait for a call to end; its error, or None for OK.

    Awaiting the call itself raises CancelledError when the *channel* was closed, as if the caller's
    task had been cancelled. Its status tells the two apart.
    """
    try:
        code = await call.code()
    except asyncio.CancelledError:
        call.cancel()
        raise
    if code is grpc.StatusCode.OK:
        return None
    return grpc.aio.AioRpcError(
        code,
        grpc.aio.Metadata(),
        await call.trailing_metadata(),
        details=await call.details(),
        debug_error_string=await call.debug_error_string(),
    )
