"""One HTTP connection within limits: how many there are, how long a request may take to arrive.

uvicorn has no such limits of its own. Its h11 half parses, because that bounds the size of headers;
this adds timers around it, by asyncio's own callbacks, and reads little at a time: a body in chunks
of one byte each takes it 14 us a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

# Bytes that are read and parsed in one turn of the event loop, 40 ms of the smallest chunks. Over
# TLS asyncio reads 256 KiB, whatever is asked for.
_READ_BYTES = 16 * 1024
_SLOWEST = 1024  # bytes a second; a client that takes less of a response is given up
_TOO_MANY = "too many connections are open (--max-connections): try again"
_TOO_SLOW = "the request took too long to arrive (--http-request-seconds): send it again"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of each connection, and of all together.

    Attributes:
        connections: most that are open.
        request_seconds: from the first byte of a request, or from the beginning, to its last.
        stalled_seconds: that a response may lie unread.
        keep_alive_seconds: between a response and the first byte of the next request.
    """

    connections: int = 4096
    request_seconds: float = 60.0
    stalled_seconds: float = 60.0
    keep_alive_seconds: float = 75.0


def limited(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol of uvicorn within these limits; it makes one for each connection."""

    class Protocol(LimitedProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.limits = limits

    return Protocol


class LimitedProtocol(H11Protocol):
    """A connection that cannot be held open for nothing."""

    limits: ConnectionLimits
    _reading: asyncio.TimerHandle | None = None  # runs while a request is awaited
    _writing: asyncio.TimerHandle | None = None  # runs while something is unsent
    _unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):  # of asyncio's selector transports
            transport.max_size = _READ_BYTES
        # The transport then tells of all that it cannot send at once. TLS counts from `high` on,
        # and with 0 would never send: https://github.com/python/cpython/blob/3.11/Lib/asyncio/sslproto.py
        transport.set_write_buffer_limits(high=1, low=0)
        if len(self.connections) > self.limits.connections:
            self._end(b"503 Service Unavailable", _TOO_MANY)
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        _stop(self._reading)
        _stop(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; the clock stops when a request is whole."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._look()

    def on_response_complete(self) -> None:
        """The body may still be on its way, or a part of the next request be here already."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Something is unsent."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._writing = self._after(self.limits.stalled_seconds, self._check_reader)

    def resume_writing(self) -> None:
        """All is sent."""
        _stop(self._writing)
        super().resume_writing()

    def _look(self) -> None:
        """Run the clock while the client owes us a request or a part of it."""
        if not self._is_owed():
            _stop(self._reading)
            self._reading = None
        elif self._reading is None and not self.transport.is_closing():
            self._reading = self._after(self.limits.request_seconds, self._too_slow)

    def _is_owed(self) -> bool:
        if self.cycle is None or self.cycle.more_body:
            return True
        # Between two requests uvicorn's own clock runs, until the first byte of the next.
        return self.cycle.response_complete and bool(self.conn.trailing_data[0])

    def _too_slow(self) -> None:
        cycle = self.cycle
        # Of a request whose body drips on; if that is whole, it is the next one that is too slow.
        answered = (
            cycle is not None
            and cycle.response_started
            and (cycle.more_body or not cycle.response_complete)
        )
        self._end(b"408 Request Timeout", "" if answered else _TOO_SLOW)

    def _check_reader(self) -> None:
        """Drop the connection unless enough was taken since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if self._unsent - unsent < self.limits.stalled_seconds * _SLOWEST:
            self.transport.abort()
        else:
            self._unsent = unsent
            self._writing = self._after(self.limits.stalled_seconds, self._check_reader)

    def _end(self, status: bytes, told: str) -> None:
        """Say why, if there is something to say, and close."""
        if told:
            head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-type: text/plain\r\n" % status
            head += b"retry-after: 5\r\ncontent-length: %d\r\n\r\n" % len(told)
            self.transport.write(head + told.encode())
        self.transport.close()

    def _after(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, act)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
