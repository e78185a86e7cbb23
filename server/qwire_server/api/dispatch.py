"""The front's end of the seam: hands outcomes of the engine to whoever waits for them.

The engine's thread calls `deliver` once for each batch; everything else is the event loop's.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from qwire_server.engine.work import Outcome

_LOG = logging.getLogger("qwire.server")


class Sink(NamedTuple):
    """Who waits for a work: takes its outcomes, and is told if that goes wrong."""

    take: Callable[[Outcome], None]
    fail: Callable[[Exception], None]


class Dispatcher:
    """Sinks by the key of their work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._keys = itertools.count(1)
        self._sinks: dict[int, Sink] = {}

    def __repr__(self) -> str:
        return f"<Dispatcher {len(self._sinks)} works wait>"

    def open(self, sink: Sink) -> int:
        """A new key; `sink` gets the outcomes that carry it, in the event loop."""
        key = next(self._keys)
        self._sinks[key] = sink
        return key

    def close(self, key: int) -> None:
        """Outcomes of this key are dropped from now on."""
        self._sinks.pop(key, None)

    def deliver(self, outcomes: list[Outcome]) -> None:
        """Cross from any thread into the event loop: one crossing for all of them."""
        try:
            self._loop.call_soon_threadsafe(self.hand_over, outcomes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            _LOG.warning("%d outcomes came after the end", len(outcomes))

    def hand_over(self, outcomes: list[Outcome]) -> None:
        """Give outcomes to their sinks; for who is in the event loop already."""
        for outcome in outcomes:
            if sink := self._sinks.get(outcome.key):
                try:
                    sink.take(outcome)
                except Exception as error:  # noqa: BLE001  a bug of ours: it may cost one work, not the batch
                    _LOG.exception("an outcome could not be handed over")
                    sink.fail(error)
