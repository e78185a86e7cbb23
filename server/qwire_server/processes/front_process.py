"""A front's process: an ordinary server whose room and engines are in other processes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from qwire_server.api.dispatch import Dispatcher
from qwire_server.api.reranker import Reranker
from qwire_server.backend import Ready, named
from qwire_server.build import Behind, make_embedder
from qwire_server.errors import Unavailable
from qwire_server.process import serve
from qwire_server.processes.carried import unpack_models
from qwire_server.processes.desk_link import DeskLink
from qwire_server.processes.engine_links import EngineLinks
from qwire_server.processes.figures import pack_counters, pack_metrics, unpack_stats
from qwire_server.processes.link import Answer, Link
from qwire_server.processes.place import DESK, end_without, run
from qwire_server.serve import Server
from qwire_server.text.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwire_server.api.gate import Gate
    from qwire_server.api.metrics import MetricsObserver
    from qwire_server.api.stats import Counters, Stats
    from qwire_server.processes.link import Facts
    from qwire_server.security.keyring import Keyring
    from qwire_server.settings import Settings

_LOOK_AGAIN = 0.5  # seconds
_NO_DEVICE = "no device is ready: it is starting, or starting again; try again in a moment"


def main(name: str, settings: Settings, folder: Path) -> None:
    """Run until SIGTERM, or until the supervisor is gone; arguments as of `engine_process`."""
    make = partial(Server, backend=partial(Remote, name, settings, folder))
    run(name, settings, lambda: serve(settings, make))


class Remote:
    """A `Backend` in other processes.

    Args:
        name: of this process.
        settings: of the server.
        folder: where its processes' sockets are.
        counters: of this front.
        figures: of this front.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        folder: Path,
        counters: Counters,
        figures: MetricsObserver,
    ) -> None:
        self._name = name
        self._folder = folder
        self._counters = counters
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(self._loop)
        self._engines = EngineLinks(self._dispatcher.hand_over)
        self._pool = Pool(settings.tokenizer_threads)
        self._devices: set[int] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[Ready] = self._loop.create_future()
        self._preparing = asyncio.Lock()
        self._link: Link | None = None
        self._open: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return repr(self._engines)

    async def open(
        self,
        gate: Gate,
        keyring: Keyring,  # noqa: ARG002  the supervisor has the keys, too
        on_fatal: Callable[[str], None],  # noqa: ARG002  devices come back
    ) -> Ready:
        """See `Backend`."""
        self._link = link = Link(
            *await asyncio.open_unix_connection(self._folder / DESK),
            told={"devices": lambda facts, _: self._meet(gate, facts)},
            asked={"state": lambda _: self._state(), "metrics": lambda _: self._own_figures(gate)},
        )
        asyncio.create_task(link.run()).add_done_callback(end_without)
        link.tell("front", name=self._name)
        ready = await self._first
        link.tell("open", models=ready.models)
        return ready

    async def metrics(self, gate: Gate) -> bytes:  # noqa: ARG002  those of all fronts
        """See `Backend`."""
        if self._link is None:
            raise Unavailable("this front is starting: try again in a moment")
        return (await self._link.ask("all_metrics")).body

    async def close(self) -> None:
        """See `Backend`; all is answered, since no call is open."""
        self._engines.close()
        await asyncio.to_thread(self._pool.close)

    def _meet(self, gate: Gate, facts: Facts) -> None:
        """Told which devices there are now."""
        for device in facts["devices"]:
            if device["number"] not in self._devices:
                self._devices.add(device["number"])
                task = asyncio.create_task(self._connect(gate, device))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _connect(self, gate: Gate, device: Facts) -> None:
        number: int = device["number"]
        assert self._link
        try:
            ended = await self._engines.connect(number, device["socket"])
            ended.add_done_callback(lambda _: self._lost(gate, number))
            async with self._preparing:
                if self._open is None:
                    # Every device has the same models, with megabytes of tokenisers.
                    models = await self._link.ask("models")
                    self._open = await self._prepare(gate, models.facts)
        except OSError:  # it has ended meanwhile
            self._devices.discard(number)
        except Unavailable:  # likewise; the next one will tell
            return
        if self._open and self._engines.count and not gate.is_serving:
            self._open()

    async def _prepare(self, gate: Gate, models: Facts) -> Callable[[], None]:
        model, ranker = await asyncio.to_thread(unpack_models, models)
        carried = [m for m in (model, ranker and ranker[0]) if m]
        self._engines.costs = {each.served.model: each.cost for each in carried}
        assert self._link
        behind = Behind(
            DeskLink(self._link),
            self._engines,
            self._dispatcher,
            self._counters.books,
            self._stats,
        )
        embedder = make_embedder(model, behind, self._pool) if model else None
        reranker = (
            Reranker(make_embedder(ranker[0], behind, self._pool), ranker[1]) if ranker else None
        )
        names = " and ".join(named(each.served) for each in carried)

        def open_gate() -> None:
            gate.open(embedder, reranker)
            if not self._first.done():
                self._first.set_result(Ready(names, "a front", "open"))

        return open_gate

    def _lost(self, gate: Gate, number: int) -> None:
        self._devices.discard(number)
        if not self._engines.count:
            gate.pause(_NO_DEVICE)
        assert self._link
        self._loop.call_later(_LOOK_AGAIN, self._link.tell, "look")

    async def _stats(self, only: str | None) -> Stats:
        assert self._link
        return unpack_stats((await self._link.ask("all_stats", only=only)).facts)

    def _state(self) -> Answer:
        return Answer({"counters": pack_counters(self._counters)})

    async def _own_figures(self, gate: Gate) -> Answer:
        await self._figures.look(gate)
        return Answer(body=await asyncio.to_thread(pack_metrics, self._figures.registry))
