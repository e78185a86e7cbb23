"""Why a stream takes no more: the server stops, its time is over, a text cannot be answered.

This contract has no notices. What was accepted is answered before the reason is told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qwire_server.errors import Unavailable

if TYPE_CHECKING:
    from types import TracebackType

    from qwire_server.api.gate import Gate
    from qwire_server.api.rpc.rules import StreamRules
    from qwire_server.api.tei.arrivals import Arrivals
    from qwire_server.errors import RequestError

_FOREVER = 365 * 24 * 3600.0  # in seconds: an event loop has no infinite timers
_TOO_OLD = "this stream is as old as its connection may get (--connection-seconds): open another"


class Ending:
    """Watches, while it is entered, for what ends a stream.

    Args:
        gate: tells when the server stops.
        arrivals: told to take no more.
        rules: how old a stream may get.

    Attributes:
        reason: the first that came; None while the stream goes on.
    """

    def __init__(self, gate: Gate, arrivals: Arrivals[Any], rules: StreamRules) -> None:
        self.reason: RequestError | None = None
        self._gate = gate
        self._arrivals = arrivals
        self._seconds = min(rules.reconnect_seconds, _FOREVER)

    def __enter__(self) -> None:
        self._gate.watch(self._look)
        loop = asyncio.get_running_loop()
        self._aging = loop.call_later(self._seconds, self.now, Unavailable(_TOO_OLD))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.unwatch(self._look)
        self._aging.cancel()

    def now(self, reason: RequestError) -> None:
        """Take no more; the first reason counts."""
        self.reason = self.reason or reason
        self._arrivals.stop()

    def _look(self) -> None:
        if self._gate.draining.is_set():
            self.now(Unavailable(self._gate.reason))
