"""Starts the processes of a server, starts those again that end, and stops them all in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire_server import logs
from qwire_server.build import make_room
from qwire_server.engine.observer import LogObserver
from qwire_server.errors import RequestError, StartError
from qwire_server.ports import places
from qwire_server.processes import engine_process, front_process
from qwire_server.processes.child import Child
from qwire_server.processes.desk import Desk
from qwire_server.processes.overview import Overview
from qwire_server.processes.place import DESK, socket_folder
from qwire_server.processes.ports import kept_ports
from qwire_server.protection import protect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from qwire_server.api.room import Room
    from qwire_server.load import LoadedModel
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
_MOST_TRIES = 8  # in a row that end soon; then whoever started the server has to look
_LOOK_EVERY = 5.0
_END_SECONDS = 10.0  # beyond what draining may take


async def serve_in_processes(
    settings: Settings, load: Callable[[Settings], LoadedModel] | None = None
) -> int:
    """Run a server in several processes until SIGTERM or SIGINT; the exit status.

    Args:
        settings: of the server.
        load: where the embedding model comes from; a function that another process can import.

    Raises:
        StartError: a port is taken or not protected, or this system has not what it needs.
    """
    if sys.platform != "linux":
        raise StartError(
            "--fronts and --devices need Linux, which spreads a port's connections over processes: "
            "leave them out, or start a server for each device"
        )
    asyncio.get_running_loop().set_exception_handler(logs.in_loop)
    keyring = protect(settings, LogObserver()).keyring
    with kept_ports(settings) as known, socket_folder() as folder:
        supervisor = Supervisor(known, load, folder, make_room(settings, keyring), keyring)
        server = await asyncio.start_unix_server(supervisor.desk.meet, folder / DESK)
        try:
            return await supervisor.run()
        finally:
            server.close()


class Supervisor:
    """Keeps fronts and engines running.

    Args:
        settings: of the server; its ports are known.
        load: as of `serve_in_processes`.
        folder: for sockets.
        room: for work, of the whole server.
        keyring: keys of the supervisor; the fronts have their own.

    Attributes:
        desk: that fronts and engines connect to.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Settings], LoadedModel] | None,
        folder: Path,
        room: Room,
        keyring: Keyring,
    ) -> None:
        devices = settings.device_names
        fronts = settings.fronts or 1
        on_cpu = max(1, sum(device in {"cpu", "auto"} for device in devices))
        cores = max(1, len(os.sched_getaffinity(0)) // on_cpu)
        self._settings = settings
        self._keyring = keyring
        self._began = time.monotonic()
        self._engines = [
            Child(
                f"engine-{number}",
                engine_process.main,
                settings.model_copy(update={"device": device}),
                folder,
                load,
                cores,
            )
            for number, device in enumerate(devices)
        ]
        self._fronts = [
            Child(f"front-{number}", front_process.main, settings, folder)
            for number in range(fronts)
        ]
        self._children = (*self._engines, *self._fronts)
        self.desk = Desk(room, self._look)
        Overview(self.desk)
        self._ready = False
        self._status = 0
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Start all, keep them running, stop all; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        for child in self._children:
            child.start(self._on_end)
        patrol = asyncio.create_task(self._patrol())
        await self._stopping.wait()
        patrol.cancel()
        _LOG.info("stopping %d processes", len(self._children))
        await self._stop(self._fronts, self._settings.drain_seconds + _END_SECONDS)
        await self._stop(self._engines, _END_SECONDS)
        return self._status

    def _look(self) -> None:
        """Something changed at the desk."""
        if not self._ready and self.desk.devices and len(self.desk.opened) >= len(self._fronts):
            self._ready = True
            chosen = self._settings
            http_port = 0 if chosen.http_port == "off" else chosen.http_port
            _LOG.info(
                "qwire %s ready: %s on %s after %.1f s (%d fronts, %d devices)",
                __version__,
                self.desk.opened[0],
                places(chosen, chosen.grpc_port, http_port),
                time.monotonic() - self._began,
                len(self._fronts),
                len(self._engines),
            )

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            _LOG.warning("second signal: all processes are ended")
            self._status = 1
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._stopping.set()

    def _reload(self) -> None:
        """Read the keys again, and have the fronts read keys and certificates again."""
        _LOG.info("SIGHUP: keys and certificates are read again")
        self._keyring.reload()
        for front in self._fronts:
            front.signal(signal.SIGHUP)

    def _on_end(self, child: Child) -> None:
        self._ended.set()
        if self._stopping.is_set():
            return
        pause = child.pause()
        code = child.process.exitcode if child.process else None
        if not self._ready or child.tries > _MOST_TRIES:
            _LOG.error("%s %s: the server stops", child.name, child.how())
            self._status = 2 if code == 2 and not self._ready else 1
            self._stopping.set()
            return
        _LOG.error("%s %s, and is started again in %g s", child.name, child.how(), pause)
        asyncio.get_running_loop().call_later(pause, self._start_again, child)

    def _start_again(self, child: Child) -> None:
        if not self._stopping.is_set():
            child.start(self._on_end)

    async def _patrol(self) -> None:
        """End what does not answer: its event loop is stuck, and nothing else would end it."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            links = self.desk.links
            children = [child for child in self._children if child.name in links]
            await asyncio.gather(*(self._check(c, links[c.name].ask("state")) for c in children))

    async def _check(self, child: Child, answer: Awaitable[object]) -> None:
        process = child.process
        try:
            await asyncio.wait_for(answer, self._settings.stall_seconds)
        except asyncio.TimeoutError:
            if child.process is process:
                _LOG.error("%s does not answer: it is ended", child.name)
                child.signal(signal.SIGKILL)
        except RequestError:
            pass  # it has ended by itself

    async def _stop(self, children: Sequence[Child], seconds: float) -> None:
        for child in children:
            child.signal(signal.SIGTERM)
        ends = time.monotonic() + seconds
        while any(child.is_alive for child in children):
            self._ended.clear()
            left = ends - time.monotonic()
            try:
                await asyncio.wait_for(self._ended.wait(), max(0.0, left))
            except asyncio.TimeoutError:
                for child in children:
                    child.signal(signal.SIGKILL)
                ends = time.monotonic() + _END_SECONDS
