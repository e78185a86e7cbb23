"""Virtual time: what happens next, in order. Knows nothing about queues."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Event: TypeAlias = tuple[int, int, Callable[..., None], tuple[object, ...]]


class World:
    """Events in the order of their time; those of the same moment in the order they were made.

    Attributes:
        now: microseconds since the start.
    """

    __slots__ = ("_events", "_numbers", "now")

    def __init__(self) -> None:
        self.now = 0
        self._events: list[Event] = []
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<World {self.now / 1e6:.6f} s, {len(self._events)} events>"

    def at(self, time: int, call: Callable[..., None], *arguments: object) -> None:
        """Call this at that time, which is not past."""
        heapq.heappush(self._events, (time, next(self._numbers), call, arguments))

    def feed(self, arrivals: Iterator[tuple[int, Callable[..., None], object]]) -> None:
        """Take events from a long ordered source, one at a time, so that the heap stays small."""
        for time, call, argument in arrivals:
            self.at(time, self._fed, call, argument, arrivals)
            return

    def run(self) -> None:
        """Until nothing happens any more."""
        events, pop = self._events, heapq.heappop
        while events:
            self.now, _, call, arguments = pop(events)
            call(*arguments)

    def _fed(
        self,
        call: Callable[..., None],
        argument: object,
        arrivals: Iterator[tuple[int, Callable[..., None], object]],
    ) -> None:
        call(argument)
        self.feed(arrivals)
