"""Builds everything, once, and runs it until it is told to stop.

Start: bind, load, warm up, take work. Stop: take no more
work, tell the streams, answer what was accepted, end.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire_server.api.gate import Gate
from qwire_server.api.metrics import MetricsObserver
from qwire_server.api.rpc.guard import Guard
from qwire_server.api.rpc.rules import ALIVE_SECONDS
from qwire_server.api.stats import Counters
from qwire_server.backend import Local
from qwire_server.checkpoint.progress import Progress
from qwire_server.engine.observer import LogObserver, Observers
from qwire_server.ports import open_grpc, open_http, places
from qwire_server.protection import protect
from qwire_server.telemetry import open_tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from qwire_server.api.books import Books
    from qwire_server.api.http.listener import HttpPort
    from qwire_server.api.rpc.guard import Context
    from qwire_server.backend import Backend
    from qwire_server.engine.observer import Observer
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.protection import Protection
    from qwire_server.security.tls import Tls
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
_UNWIND_SECONDS = 1.0
_FAILED_SECONDS = 5.0  # to read the last answers of a server that can work no more


class Server:
    """One process: its ports, an embedding model, a reranker or both, one engine.

    Args:
        settings: of this server; one that asks for what is not installed is a StartError.
        observer: told of each batch and request; a log by default.
        load: where the embedding model comes from; from where the settings say by default.
        alive_seconds: how often a quiet stream with work in flight is told ALIVE.
        identify: who calls; see `api.rpc.guard.Guard`.
        load_ranker: where the reranker comes from, as `load`; told the bytes of weights before it.
        backend: makes what answers, given what counts; the models in this process by default.

    Attributes:
        port: that gRPC listens on, known after `start`.
        http_port: that HTTP listens on, known after `start`; 0 if there is none.
    """

    def __init__(
        self,
        settings: Settings,
        observer: Observer | None = None,
        load: Callable[[Settings], LoadedModel] | None = None,
        alive_seconds: float = ALIVE_SECONDS,
        identify: Callable[[Context], str] | None = None,
        *,
        load_ranker: Callable[[Settings, int], LoadedReranker] | None = None,
        backend: Callable[[Counters, MetricsObserver], Backend] | None = None,
    ) -> None:
        self.port = self.http_port = 0
        self._settings = settings
        self._counters = Counters()
        self._metrics = MetricsObserver(device=not backend, queue=not backend)
        self._observer = Observers(observer or LogObserver(), self._counters, self._metrics)
        self._tracing = open_tracing(settings)
        bars = settings.log_format == "text" and sys.stderr.isatty()
        progress = Progress(bars=bars)
        if backend:
            self._backend = backend(self._counters, self._metrics)
        else:
            self._backend = Local(
                settings,
                progress,
                load,
                load_ranker,
                observer=self._observer,
                counters=self._counters,
                figures=self._metrics,
            )
        self._alive_seconds = alive_seconds
        self._identify = identify
        self._gate = Gate(progress)
        self._failure = ""
        self._grpc: grpc.aio.Server | None = None
        self._http: HttpPort | None = None
        self._protection: Protection | None = None
        self._patrols: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Server :{self.port} {self._gate!r} {self._backend!r}>"

    @property
    def open_calls(self) -> int:
        """Calls that are not yet answered, streams included."""
        return self._gate.open_calls

    @property
    def certificate_expires(self) -> float | None:
        """Seconds since 1970; None without TLS."""
        return self._tls.current().expires if self._tls else None

    @property
    def books(self) -> Books:
        """What became of every accepted text."""
        return self._counters.books

    async def start(self) -> None:
        """Bind, load, warm up, take work.

        Raises:
            StartError: a port is taken or not protected, or the model cannot be served.
        """
        began = time.monotonic()
        chosen = self._settings
        self._protection = protection = protect(chosen, self._observer, self._metrics.registry)
        guard = Guard(self._gate, self._observer, protection.keyring, self._identify, self._tracing)
        self._grpc, self.port = await open_grpc(
            chosen, self._gate, guard, protection, self._alive_seconds
        )
        try:
            self._http = await open_http(
                chosen,
                self._gate,
                self._observer,
                lambda: self._backend.metrics(self._gate),
                tracing=self._tracing,
                protection=protection,
            )
            self.http_port = self._http.port if self._http else 0
            _LOG.info("listening on %s, not yet ready", self._places())
            ready = await self._backend.open(self._gate, protection.keyring, self._fail)
        except BaseException:
            await self._grpc.stop(None)
            await self._close_http(0)
            raise
        if protection.tls:
            self._patrols.append(asyncio.create_task(protection.tls.keep_looking()))
        if protection.keyring.is_on:
            self._patrols.append(asyncio.create_task(guard.calls.patrol()))
        _LOG.info(
            "qwire %s %s: %s on %s",
            __version__,
            ready.word,
            ready.models,
            f"{self._places()} after {time.monotonic() - began:.1f} s ({ready.loading})",
        )

    def reload(self) -> None:
        """Read the files of keys and certificates now, though they may be as they were."""
        _LOG.info("SIGHUP: keys and certificates are read again")
        if self._protection:
            self._protection.reload()

    async def run(self, stopping: asyncio.Event) -> int:
        """Serve until `stopping` is set, or until the engine fails; the process's exit status."""
        self._gate.watch(lambda: stopping.set() if self._failure else None)
        if self._failure:  # since before somebody watched
            stopping.set()
        await stopping.wait()
        await self.stop()
        if self._failure:
            _LOG.error("stopped: %s", self._failure)
        return 1 if self._failure else 0

    async def stop(self) -> None:
        """Drain: no new work, notices to streams, answers to what was accepted; then end."""
        self._gate.close(self._failure or "the server is stopping: try again elsewhere")
        assert self._grpc is not None
        _LOG.info("stopping: %d calls open", self._gate.open_calls)
        # gRPC's port closes at once, HTTP's tells probes that the server drains; open calls go on.
        seconds = self._settings.drain_seconds
        if self._failure:  # everything accepted is answered: only who still reads is waited for
            seconds = min(seconds, _FAILED_SECONDS)
        ends = time.monotonic() + seconds
        closing = asyncio.create_task(self._grpc.stop(seconds))
        idle = asyncio.create_task(self._gate.idle())
        await asyncio.wait({closing, idle}, timeout=seconds)
        idle.cancel()
        if cut := self._gate.open_calls:
            _LOG.warning("%d calls were cut after %g s", cut, seconds)
        await closing
        with suppress(asyncio.TimeoutError):  # calls that were cut give back what they hold
            await asyncio.wait_for(self._gate.idle(), _UNWIND_SECONDS)
        await self._close_http(ends - time.monotonic())
        for patrol in self._patrols:
            patrol.cancel()
        await self._backend.close()
        await asyncio.to_thread(self._tracing.close)

    @property
    def _tls(self) -> Tls | None:
        return self._protection.tls if self._protection else None

    def _places(self) -> str:
        """Where it listens, as the log says it."""
        return places(self._settings, self.port, self.http_port)

    async def _close_http(self, seconds: float) -> None:
        if self._http:
            await self._http.close(seconds)

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._gate.close(reason)
