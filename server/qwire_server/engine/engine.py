"""The engine: accepts work, forms batches when the device is free, answers every text once.

One worker thread runs the model. There is no timer: an idle device takes what there is at once, a
busy one finds a full batch waiting.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qwire_server.engine import clock
from qwire_server.engine.batch import run_batch
from qwire_server.engine.observer import BatchRecord, QueueRecord
from qwire_server.engine.queue.backlog import Backlog
from qwire_server.engine.queue.item import Entry, Item
from qwire_server.engine.work import Failure, Outcome, RequestClass
from qwire_server.model.errors import DeviceLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qwire_server.engine.observer import Observer
    from qwire_server.engine.queue.backlog import BatchLimits, Taken, Waiting
    from qwire_server.engine.runner import Model
    from qwire_server.engine.work import TokenIds, Work

_LOG = logging.getLogger("qwire.server")
_LOOK_EVERY = 1_000_000  # microseconds between two records of the queue


class Engine:
    """Holds accepted work until it is answered.

    Args:
        models: by the name that works ask for; they share the device.
        limits: of a batch.
        deliver: given the outcomes of one batch, once per batch, by the worker thread.
        observer: given one record per batch, and one of the queue each second with a batch.
        on_fatal: called once, by the worker thread, when it can work no more.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        limits: BatchLimits,
        deliver: Callable[[list[Outcome]], None],
        observer: Observer,
        on_fatal: Callable[[str], None],
    ) -> None:
        self._models = models
        self._deliver = deliver
        self._observer = observer
        self._on_fatal = on_fatal
        self._looked = 0  # the worker thread's own
        # Mutable, guarded by _changed: the backlog, the entries by key, the two flags.
        self._changed = threading.Condition()
        self._backlog = Backlog(limits)
        self._entries: dict[int, Entry] = {}
        self._closed = False
        self._failed = ""
        self._thread = threading.Thread(target=self._work, name="qwire-engine", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Engine works {len(self._entries)} {self._backlog!r}>"

    def submit(self, work: Work) -> None:
        """Accept a work: each of its texts is answered through `deliver`, whatever breaks.

        Ids outside the model's table are answered as failures here: on CUDA such an id would break
        the device for everybody.
        """
        now = clock.now()
        entry = Entry(work, now)
        refused = _refused(work.token_ids, self._models[work.model].runner.vocab_size)
        bad = {failure.index for failure in refused}
        sized = zip(work.token_ids, work.costs, strict=True)
        items = [Item(entry, i, len(t), c) for i, (t, c) in enumerate(sized) if i not in bad]
        entry.unanswered = len(items)
        with self._changed:
            stopped = self._failed or ("the server is stopping" if self._closed else "")
            if not stopped and items:
                self._entries[work.key] = entry
                self._backlog.push(items, now)
                self._changed.notify()
        if stopped:
            refused = [Failure(i, "UNAVAILABLE", stopped) for i in range(len(work.token_ids))]
        if refused:
            self._deliver([Outcome(work.key, failures=refused)])

    def cancel(self, key: int) -> None:
        """Forget a work whose caller has gone; what is not yet in a batch is never computed."""
        with self._changed:
            if entry := self._entries.pop(key, None):
                entry.gone = True

    def waiting(self) -> list[Waiting]:
        """What waits now, by class and client."""
        with self._changed:
            return self._backlog.waiting()

    def close(self) -> None:
        """Accept no more, answer what was accepted, end the worker thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _overhead(self) -> int:
        """Microseconds of the dearest model's forward before its first text."""
        return max(model.cost.forward() for model in self._models.values())

    def _work(self) -> None:
        """The worker thread; its own death is an answer too."""
        texts: list[Item] = []
        try:
            while taken := self._next_batch():
                texts = taken.items + taken.expired
                outcomes = [_expired(item) for item in taken.expired]
                if taken.items:
                    outcomes += self._run(taken)
                self._settle(texts)
                self._deliver(outcomes)
        except DeviceLost as error:
            self._fail(texts, f"the device failed and the server must restart: {error}")
        except BaseException as error:  # noqa: BLE001  nobody else would see it
            _LOG.exception("the engine's worker thread died")
            self._fail(texts, f"the server failed and must restart ({type(error).__name__})")

    def _next_batch(self) -> Taken | None:
        """Block until something waits; None once closed and drained."""
        with self._changed:
            while True:
                taken = self._backlog.take(clock.now(), self._overhead())
                if taken.items or taken.expired:
                    return taken
                if self._closed:
                    return None
                self._changed.wait()

    def _run(self, taken: Taken) -> list[Outcome]:
        """Run a batch; every item of it is in one outcome."""
        items, began = taken.items, clock.now()
        name = items[0].entry.work.model
        model = self._models[name]
        if began - self._looked >= _LOOK_EVERY:
            self._looked = began
            self._observer.queue(lambda: QueueRecord(began, self.waiting()))
        done = run_batch(model.runner, items)
        took = clock.now() - began
        estimated = model.cost.forward() + sum(item.cost for item in items)
        if not done.failed and not done.splits:
            model.cost.learn([item.tokens for item in items], took)
        self._observer.batch(
            BatchRecord(
                model=name,
                texts=len(items),
                tokens=sum(item.tokens for item in items),
                bulk_tokens=sum(item.tokens for item in items if _is_bulk(item)),
                estimated_seconds=estimated / 1e6,
                compute_seconds=took / 1e6,
                fill=taken.fill,
                waited_seconds=(began - min(item.entry.since for item in items)) / 1e6,
                expired=len(taken.expired),
                failed=done.failed,
                splits=done.splits,
            )
        )
        return [replace(outcome, seconds=took / 1e6) for outcome in done.outcomes]

    def _settle(self, batch: list[Item]) -> None:
        """Forget entries that have nothing left to answer."""
        with self._changed:
            for item in batch:
                item.entry.unanswered -= 1
                if not item.entry.unanswered:
                    self._entries.pop(item.entry.work.key, None)

    def _fail(self, batch: list[Item], reason: str) -> None:
        """Answer everything that was accepted, and everything that comes, with UNAVAILABLE."""
        with self._changed:
            self._failed = reason
            waiting = batch + self._backlog.clear()
            self._entries.clear()
        self._deliver([_failed(item, "UNAVAILABLE", reason) for item in waiting])
        self._on_fatal(reason)


def _refused(token_ids: list[TokenIds], vocab_size: int) -> list[Failure]:
    """Texts that the model must not see. One look at all of them; they are hardly ever bad."""
    if all(map(len, token_ids)) and _valid(np.concatenate(token_ids), vocab_size):
        return []
    bad = (i for i, ids in enumerate(token_ids) if not len(ids) or not _valid(ids, vocab_size))
    return [_bad_id(i) for i in bad]


def _valid(ids: TokenIds, vocab_size: int) -> bool:
    return int(ids.min()) >= 0 and int(ids.max()) < vocab_size


def _failed(item: Item, code: str, message: str) -> Outcome:
    return Outcome(item.entry.work.key, failures=[Failure(item.index, code, message)])


def _expired(item: Item) -> Outcome:
    return _failed(item, "DEADLINE_EXCEEDED", "the deadline passed while the request waited")


def _is_bulk(item: Item) -> bool:
    return item.entry.work.request_class is RequestClass.BULK


def _bad_id(index: int) -> Failure:
    return Failure(index, "INTERNAL", "a token id lies outside the model's table: this is a bug")
