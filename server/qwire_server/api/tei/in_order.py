"""A stream whose messages are answered one by one, in slices of what has arrived together."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from qwire_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from qwire_server.api.rpc.guard import Tally
    from qwire_server.api.rpc.writer import Writer
    from qwire_server.api.tei.arrivals import Arrivals
    from qwire_server.api.tei.ending import Ending

Asked = TypeVar("Asked")
Told = TypeVar("Told")


async def serve_in_order(
    writer: Writer,
    ends: Ending,
    arrivals: Arrivals[Asked],
    tally: Tally,
    *,
    key: Callable[[Asked], object],
    work: Callable[[Sequence[Asked]], Awaitable[list[Told]]],
) -> None:
    """Serve a stream to its end: the client's half-close, or an error.

    Args:
        writer: of the stream.
        ends: tells why the stream takes no more.
        arrivals: of the stream.
        tally: counts the messages.
        key: messages in a row with the same one are worked on together.
        work: answers messages, all or nothing.

    Raises:
        RequestError: of the first message that has no answer; or the stream has to end.
    """
    with ends:
        while await arrivals.some():
            for _, same in groupby(arrivals.take(), key=key):
                async for answer in _answers(list(same), work):
                    tally.texts += 1
                    await writer.write(answer)
        if ends.reason:
            raise ends.reason


async def _answers(
    run: list[Asked], work: Callable[[Sequence[Asked]], Awaitable[list[Told]]]
) -> AsyncIterator[Told]:
    """Answers up to the first message that has none, whose error is raised."""
    try:
        answers = await work(run)
    except RequestError:
        for message in run:
            [answer] = await work([message])
            yield answer
    else:
        for answer in answers:
            yield answer
