"""For tests of times that are kept, on machines that may stand still for a moment at any time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def with_time(
    attempt: Callable[[float], Awaitable[None]], *, seconds: tuple[float, ...] = (0.5, 2, 8)
) -> None:
    """Try with the shortest time, then with longer ones: who keeps within none of them fails.

    A product that ignores its limit, or measures from the wrong moment, fails with all of them as
    what `attempt` does lasts longer in proportion. A machine that was away for a second fails only
    with the first.

    Args:
        attempt: the whole test with a limit of so many seconds.
        seconds: the limits to try.
    """
    for limit in seconds[:-1]:
        with contextlib.suppress(Exception):
            await attempt(limit)
            return
    await attempt(seconds[-1])


async def a_while(seconds: float) -> None:
    """Sleep for what is under way to arrive; a moment in which all stands still is not counted."""
    for _ in range(20):
        await asyncio.sleep(seconds / 20)


def quickest(call: Callable[[], object], *, enough: float, tries: int = 5) -> float:
    """Seconds that the quickest of some calls took; the first below `enough` is the last."""
    seconds = float("inf")
    while tries and seconds >= enough:
        tries -= 1
        start = time.monotonic()
        call()
        seconds = min(seconds, time.monotonic() - start)
    return seconds
