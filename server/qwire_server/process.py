"""One server as a process: signals, and what it exits with."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from typing import TYPE_CHECKING

from qwire_server import logs
from qwire_server.descriptors import make_room
from qwire_server.serve import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")


async def serve(settings: Settings, make: Callable[[Settings], Server] = Server) -> int:
    """Run one server in this process, until SIGTERM or SIGINT; the exit status.

    `make`: what makes the server.
    """
    most = make_room(settings.max_connections, 1 if settings.http_port == "off" else 2)
    server = make(settings.model_copy(update={"max_connections": most}))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.in_loop)

    def on_signal() -> None:
        if stopping.is_set():
            _LOG.warning("second signal: %d calls are cut", server.open_calls)
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, server.reload)
    starting = asyncio.create_task(server.start())
    stop_early = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stop_early}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        _LOG.warning("stopped while the model was loading")
        os._exit(0)
    starting.result()
    # Objects made by loading live as long as the process. Without this the collector looks at
    # all of them again and again, and every thread waits for tenths of a second each time.
    gc.collect()
    gc.freeze()
    status = await server.run(stopping)
    if status:
        # A thread may be stuck in the device's driver, and an ordinary exit would wait for it.
        logging.shutdown()
        os._exit(status)
    return status
