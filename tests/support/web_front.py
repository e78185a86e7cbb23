"""A server with its HTTP port open and a fake model behind it, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from support.machine_speed import hang_limit
from support.runners import FakeRunner
from support.serving import Recorder, fake_model, fake_serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from qwire_server.serve import Server
    from support.serving import Running


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
    """Run a server with a fake model in a thread until the block is left."""
    with running(lambda: fake_serving({"http_port": 0, **(settings or {})}, **limits)) as started:
        yield started


@contextmanager
def running(serve: Callable[[], AbstractAsyncContextManager[Running]]) -> Iterator[Front]:
    """Run any server in a thread until the block is left."""
    told: list[Front] = []
    ready, leave = threading.Event(), asyncio.Event()

    async def stay() -> None:
        async with serve() as started:
            assert started.runner
            told.append(Front(started.server, started.runner, started.observer))
            ready.set()
            await leave.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(stay(),))
    thread.start()
    try:
        assert ready.wait(hang_limit(15)), "the server did not start"
        yield told[0]
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
        loop.close()


@contextmanager
def serve(port: int = 0, settings: dict[str, Any] | None = None, **served: Any) -> Iterator[Front]:
    """Run a server with a fake model of 32 values; `served` is what it tells of the model."""
    runner = FakeRunner(32)
    loaded = fake_model(runner)
    loaded = replace(loaded, served=replace(loaded.served, **served))
    chosen: dict[str, Any] = {"http_port": port, **(settings or {})}
    with running(lambda: serving(lambda _: loaded, runner=runner, **chosen)) as started:
        yield started
