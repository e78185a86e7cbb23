"""A front's way to the engines: works go there, outcomes come back.

What an engine has not answered when it ends is answered here, with UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.engine.work import Failure, Outcome
from qwire_server.processes.carried import pack_work, unpack_outcome
from qwire_server.processes.link import READ_BYTES, Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.engine.queue.cost import CostModel
    from qwire_server.engine.work import Work
    from qwire_server.processes.link import Facts

_ENDED = "the process of the device ended before this text was done: try again"


@dataclass(slots=True)
class _Sent:
    """A work that an engine has, and its texts that have no answer yet."""

    device: int
    unanswered: set[int]


class EngineLinks:
    """A `Worker` that hands works to the device where room is held for them.

    Args:
        deliver: takes outcomes, in the event loop.
        costs: by model; they follow what the engines learn.
    """

    def __init__(self, deliver: Callable[[list[Outcome]], None]) -> None:
        self.costs: dict[str, CostModel] = {}
        self._deliver = deliver
        self._links: dict[int, Link] = {}
        self._sent: dict[int, _Sent] = {}

    def __repr__(self) -> str:
        return f"<EngineLinks to {len(self._links)} devices, {len(self._sent)} works there>"

    @property
    def count(self) -> int:
        """Devices that there is a way to."""
        return len(self._links)

    async def connect(self, device: int, socket: str) -> asyncio.Task[None]:
        """Open the way to a device.

        Returns:
            What ends when the device does.

        Raises:
            OSError: it is gone already.
        """
        reader, writer = await asyncio.open_unix_connection(socket, limit=READ_BYTES)
        link = Link(
            reader,
            writer,
            told={"outcome": self._take, "costs": lambda facts, _: self._learn(facts)},
        )
        self._links[device] = link
        return asyncio.create_task(self._run(device, link))

    def submit(self, work: Work) -> None:
        """See `Worker`."""
        link = self._links.get(work.device)
        if link is None:
            self._fail(work.key, set(range(len(work.token_ids))))
            return
        self._sent[work.key] = _Sent(work.device, set(range(len(work.token_ids))))
        facts, body = pack_work(work)
        link.tell("work", body, **facts)

    def cancel(self, key: int) -> None:
        """See `Worker`."""
        if (sent := self._sent.pop(key, None)) and (link := self._links.get(sent.device)):
            link.tell("cancel", key=key)

    def close(self) -> None:
        """End all links."""
        for link in self._links.values():
            link.close()

    async def _run(self, device: int, link: Link) -> None:
        await link.run()
        del self._links[device]
        lost = [(key, sent) for key, sent in self._sent.items() if sent.device == device]
        for key, sent in lost:
            del self._sent[key]
            self._fail(key, sent.unanswered)

    def _take(self, facts: Facts, body: bytes) -> None:
        outcome = unpack_outcome(facts, body)
        if sent := self._sent.get(outcome.key):
            sent.unanswered.difference_update(outcome.indices)
            sent.unanswered.difference_update(failure.index for failure in outcome.failures)
            self._deliver([outcome])

    def _learn(self, facts: Facts) -> None:
        for model, figures in facts["costs"].items():
            if cost := self.costs.get(model):
                for name, value in figures.items():
                    setattr(cost, name, value)

    def _fail(self, key: int, texts: set[int]) -> None:
        failures = [Failure(index, "UNAVAILABLE", _ENDED) for index in sorted(texts)]
        if failures:
            self._deliver([Outcome(key, failures=failures)])
