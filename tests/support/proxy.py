"""A TCP proxy that breaks on command: resets, swallows, holds back, or slows down what comes.

Runs in a thread with an event loop of its own. Knows nothing about what it carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

from support.machine_speed import hang_limit

_PIECE = 1 << 14
_RESET = struct.pack("ii", 1, 0)  # linger for no time at all: close() sends RST


class Proxy:
    """Use in `with`; forwards to `port` of this machine."""

    def __init__(self, port: int) -> None:
        self.connections = 0  # accepted so far
        self._to = port
        self._holes: set[asyncio.Event] = set()  # of the open connections: set lets bytes through
        self._dark = False  # whether new connections carry nothing either
        self._rate = 0.0  # bytes a second and direction of one connection; 0 for no limit
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *exc_info):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def reset(self) -> None:
        """Break every open connection with RST, towards both sides."""
        self._run(self._reset())

    def swallow(self) -> None:
        """Open connections stay open, and carry nothing more."""
        self._run(self._swallow())

    def hold(self) -> None:
        """An outage: no connection, nor any new one, carries anything until `release`."""
        self._run(self._hold())

    def release(self) -> None:
        """The outage is over; what was held back arrives, as TCP would send it again."""
        self._run(self._release())

    def throttle(self, bytes_per_second: float) -> None:
        """Carry no more than this each way on each connection; 0 lifts it."""
        self._rate = bytes_per_second

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(hang_limit(10))

    async def _start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)  # the transports close in the next turn

    async def _reset(self):
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # closed by itself just now
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _swallow(self):
        for hole in self._holes:
            hole.clear()

    async def _hold(self):
        self._dark = True
        await self._swallow()

    async def _release(self):
        self._dark = False
        for hole in self._holes:
            hole.set()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        carries = asyncio.Event()
        if not self._dark:
            carries.set()
        self._holes.add(carries)
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(
                self._carry(reader, there_writer, carries),
                self._carry(there_reader, writer, carries),
            )
        except asyncio.CancelledError:
            pass  # at the end; asyncio would log it
        finally:
            self._holes.discard(carries)
            self._writers -= {writer, there_writer}
            writer.close()
            there_writer.close()

    async def _carry(self, reader, writer, carries):
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                await carries.wait()  # for ever, once it is a hole
                if self._rate:
                    await asyncio.sleep(len(data) / self._rate)
                writer.write(data)
                await writer.drain()
        writer.close()
