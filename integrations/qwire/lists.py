"""The rest of a list over a stream, where unary calls would show no progress for too long.

Knows nothing about channels: both clients drive the `Flow` that is made here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qwire.jobs import CountJob
from qwire.ranking import RerankJob
from qwire.split import TEXTS_PER_REQUEST
from qwire.state import CallLimits
from qwire.stream import Flow
from qwire.stream_codec import EmbedListCodec, RerankListCodec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire.jobs import EmbedJob, Texts
    from qwire.progress import Progress
    from qwire.results import StreamItem
    from qwire.state import State


# Texts that the flow holds at a time; the list itself is in memory anyway.
_WINDOW = 4096


def call_limits(
    state: State,
    job: EmbedJob | RerankJob | CountJob,
    seconds: float,
    deadline: float | None,
    window: int,
) -> CallLimits:
    """How long the unary calls of a job may take.

    Args:
        state: the client's state.
        job: the texts, and how they are to be processed.
        seconds: the timeout, of the call if it has one, else of the client.
        deadline: end of the call on the monotonic clock; None if it has no timeout of its own.
        window: requests in flight at once.
    """
    max_attempts = state.config.max_attempts
    if deadline is not None:
        return CallLimits(seconds, max_attempts, deadline)
    if isinstance(job, CountJob) or max_attempts == 1:
        # The requests of one list wait for each other.
        return CallLimits(seconds * window, max_attempts)
    return CallLimits(seconds, max_attempts, may_stream=True)


def list_flow(state: State, job: EmbedJob | RerankJob, limits: CallLimits) -> Flow:
    """A stream for the texts of a job that no call has answered; its items are positions."""
    codec = RerankListCodec(job) if isinstance(job, RerankJob) else EmbedListCodec(job)
    return Flow(
        codec,
        state.config.address,
        ordered=False,
        chunk_size=min(state.config.batch_size or TEXTS_PER_REQUEST, TEXTS_PER_REQUEST),
        window=_WINDOW,
        timeout=limits.timeout,
        waited=time.monotonic() - limits.progressed_at,
        max_attempts=limits.max_attempts,
        ids_are_positions=True,
    )


def unanswered(texts: Texts) -> Iterator[tuple[int, str]]:
    """Position and text of each that has no answer now; those that get one later are not left."""
    for position in (~texts.answered).nonzero()[0].tolist():
        yield position, texts.texts[position]


def take(item: StreamItem, bar: Progress | None) -> None:
    """Count an answer; the first text that failed ends the list, which is all or nothing.

    Raises:
        QwireError: the text's.
    """
    if item.error is not None:
        raise item.error
    if bar is not None:
        bar.add(1)
