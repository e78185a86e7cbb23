"""The process of one device: loads the models, then does the works that fronts send."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from qwire_server import logs
from qwire_server.api.metrics import MetricsObserver
from qwire_server.api.stats import Counters
from qwire_server.build import start_engine
from qwire_server.checkpoint.progress import Progress
from qwire_server.engine.observer import LogObserver, Observers
from qwire_server.load_all import load_all
from qwire_server.processes.carried import pack_models, pack_outcome, unpack_work
from qwire_server.processes.figures import pack_counters, pack_metrics, pack_waiting
from qwire_server.processes.link import READ_BYTES, Answer, Link
from qwire_server.processes.place import DESK, end_without, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwire_server.engine.engine import Engine
    from qwire_server.engine.work import Outcome
    from qwire_server.load import LoadedModel
    from qwire_server.processes.link import Facts
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
_KEY_BITS = 48  # of a front's own keys
_COSTS_EVERY = 0.5  # seconds


def main(
    name: str,
    settings: Settings,
    folder: Path,
    load: Callable[[Settings], LoadedModel] | None,
    cores: int,
) -> None:
    """Run until SIGTERM, or until the supervisor is gone.

    Args:
        name: of this process.
        settings: of the server, with the device that is this one's.
        folder: where the processes' sockets are.
        load: where the embedding model comes from; from where the settings say by default.
        cores: that forwards on a CPU may use.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))  # read when torch is imported
    run(name, settings, lambda: _serve(name, settings, folder, load))


async def _serve(
    name: str, settings: Settings, folder: Path, load: Callable[[Settings], LoadedModel] | None
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.in_loop)
    process = EngineProcess(settings)
    desk = await process.meet_desk(folder / DESK)
    loaded, ranker = await asyncio.to_thread(load_all, settings, Progress(bars=False), load)
    models = [m for m in (loaded, ranker and ranker.loaded) if m]
    process.take_work(models)
    socket = folder / f"{name}-{os.getpid()}.sock"
    server = await asyncio.start_unix_server(process.meet_front, socket, limit=READ_BYTES)
    desk.tell("device", name=name, socket=str(socket), models=pack_models(loaded, ranker))
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    process.failed.add_done_callback(lambda _: stopping.set())
    await stopping.wait()
    server.close()
    status = await process.close()
    socket.unlink(missing_ok=True)
    return status


class EngineProcess:
    """An engine and the links to its fronts. Belongs to the event loop, but for `_deliver`.

    Args:
        settings: of the server.

    Attributes:
        failed: done, with the reason, once the engine can work no more.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[str] = self._loop.create_future()
        self._counters = Counters()
        self._figures = MetricsObserver(front=False, queue=False)
        self._fronts: dict[int, Link] = {}
        self._met = 0
        self._engine: Engine | None = None
        self._models: list[LoadedModel] = []
        self._costs_told = 0.0

    async def meet_desk(self, path: Path) -> Link:
        """Connect to the supervisor; without it this process ends."""
        link = Link(
            *await asyncio.open_unix_connection(path),
            asked={"state": lambda _: self._state(), "metrics": lambda _: self._metrics()},
        )
        asyncio.create_task(link.run()).add_done_callback(end_without)
        return link

    def take_work(self, models: list[LoadedModel]) -> None:
        """Start the engine."""
        self._models = models
        for model in models:
            self._figures.expect(model.served.model)
        self._engine = start_engine(
            self._settings,
            models,
            self._deliver,
            Observers(LogObserver(), self._counters, self._figures),
            self._fail_soon,
        )

    async def meet_front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take works of a front until it is gone; then nobody waits for those that are left."""
        assert self._engine
        number, keys = self._met, set[int]()
        self._met += 1
        engine, high = self._engine, number << _KEY_BITS

        def work(facts: Facts, body: bytes) -> None:
            key = high | facts["key"]
            keys.add(key)
            engine.submit(unpack_work(facts, body, key))

        def cancel(facts: Facts, _: bytes) -> None:
            key = high | facts["key"]
            keys.discard(key)
            engine.cancel(key)

        link = self._fronts[number] = Link(reader, writer, told={"work": work, "cancel": cancel})
        link.tell("costs", costs=self._costs())
        try:
            await link.run()
        finally:
            del self._fronts[number]
            for key in keys:
                engine.cancel(key)

    async def close(self) -> int:
        """Answer what was accepted; the process's exit status."""
        if self._engine:
            await asyncio.to_thread(self._engine.close)
        for link in self._fronts.values():
            await link.drain()
        if not self.failed.done():
            return 0
        _LOG.error("stopped: %s", self.failed.result())
        # A thread may be stuck in the device's driver, and an ordinary exit would wait for it.
        logging.shutdown()
        os._exit(1)

    def _deliver(self, outcomes: list[Outcome]) -> None:
        """From the engine's threads: one crossing for a batch."""
        self._loop.call_soon_threadsafe(self._send, outcomes)

    def _send(self, outcomes: list[Outcome]) -> None:
        own = (1 << _KEY_BITS) - 1
        for outcome in outcomes:
            if link := self._fronts.get(outcome.key >> _KEY_BITS):
                facts, body = pack_outcome(outcome, outcome.key & own)
                link.tell("outcome", body, **facts)
        if (now := time.monotonic()) - self._costs_told > _COSTS_EVERY:
            self._costs_told = now
            for link in self._fronts.values():
                link.tell("costs", costs=self._costs())

    def _fail_soon(self, reason: str) -> None:
        """From the engine's threads."""
        self._loop.call_soon_threadsafe(self._fail, reason)

    def _fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_result(reason)

    def _costs(self) -> Facts:
        return {model.served.model: asdict(model.cost) for model in self._models}

    def _state(self) -> Answer:
        return Answer(
            {
                "counters": pack_counters(self._counters),
                "waiting": pack_waiting(self._engine.waiting()) if self._engine else [],
                "accuracy": self._models[0].cost.accuracy if self._models else 1.0,
            }
        )

    async def _metrics(self) -> Answer:
        return Answer(body=await asyncio.to_thread(pack_metrics, self._figures.registry))
