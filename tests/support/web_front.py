"""A server with its HTTP port open and a fake model behind it, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.serving import Recorder, fake_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.serve import Server
    from support.runners import FakeRunner


@dataclass
class Front:
    """A running server, in an event loop of its own."""

    server: Server
    runner: FakeRunner
    observer: Recorder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@contextmanager
def front(settings: dict[str, Any] | None = None, **limits: int) -> Iterator[Front]:
    """Run a server in a thread until the block is left."""
    told: list[Front] = []
    ready, leave = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with fake_serving({"http_port": 0, **(settings or {})}, **limits) as running:
            assert running.runner
            told.append(Front(running.server, running.runner, running.observer))
            ready.set()
            await leave.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(15), "the server did not start"
        yield told[0]
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
        loop.close()
