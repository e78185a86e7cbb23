"""The engine: accepts work, forms batches as the device gets free, answers every text once.

On a device that runs ahead, one thread launches batches and a second one waits for them and
answers, so that the device has its next batch before it is done with the last; on a CPU one does
both. There is no batching delay: an idle device takes what there is at once, a busy one finds a
full batch waiting.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from qwire_server.engine import clock, ids
from qwire_server.engine.batch import Done, answered, failed, ids_of, prefixes_of
from qwire_server.engine.inflight import InFlight
from qwire_server.engine.observer import QueueRecord
from qwire_server.engine.queue.item import Entry, Item
from qwire_server.engine.rerun import Rerun, RowsNotFinite
from qwire_server.engine.rows import finite
from qwire_server.engine.watchdog import Watchdog
from qwire_server.engine.work import Failure, Outcome
from qwire_server.model.errors import DeviceLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qwire_server.engine.flight import Flight
    from qwire_server.engine.observer import Observer
    from qwire_server.engine.queue.backlog import BatchLimits, Waiting
    from qwire_server.engine.runner import Model
    from qwire_server.engine.work import Work

_LOG = logging.getLogger("qwire.server")
_LOOK_EVERY = 1_000_000  # microseconds between two records of the queue
_GIVE_UP_SECONDS = 1.0  # for a thread of a failed engine, which may never end


class Engine:
    """Holds accepted work until it is answered.

    Args:
        models: by the name that works ask for; they share the device.
        limits: of a batch.
        deliver: given the outcomes of one batch, once per batch, by one of its threads.
        observer: given one record per batch, and one of the queue each second with a batch.
        on_fatal: called once, by any of its threads, when it can work no more.
        stall_seconds: without progress, after which it can work no more; see `watchdog`.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        limits: BatchLimits,
        deliver: Callable[[list[Outcome]], None],
        observer: Observer,
        on_fatal: Callable[[str], None],
        stall_seconds: float = 60.0,
    ) -> None:
        self._models = models
        self._deliver = deliver
        self._observer = observer
        self._on_fatal = on_fatal
        self._looked = 0  # the launching thread's own
        self._ended = 0  # the answering thread's own: when the last batch was done, microseconds
        self._inflight = InFlight(models, limits)
        self._landing: queue.SimpleQueue[Flight | None] = queue.SimpleQueue()
        self._runs_ahead = any(model.runner.runs_ahead for model in models.values())
        work = {"qwire-launch": self._launch_all}
        if self._runs_ahead:
            work["qwire-answer"] = self._answer_all
        self._threads = [
            threading.Thread(target=self._guarded, args=(task,), name=name, daemon=True)
            for name, task in work.items()
        ]
        for thread in self._threads:
            thread.start()
        self._watchdog = Watchdog(self._inflight.progress, stall_seconds, self._stalled)

    def __repr__(self) -> str:
        return f"<Engine {self._inflight!r}>"

    def submit(self, work: Work) -> None:
        """Accept a work: each of its texts is answered through `deliver`, whatever breaks.

        Ids outside the model's table are answered as failures here: on CUDA such an id would break
        the device for everybody.
        """
        now = clock.now()
        entry = Entry(work, now)
        refused = ids.refused(work.token_ids, self._models[work.model].runner.vocab_size)
        bad = {failure.index for failure in refused}
        sized = zip(work.token_ids, work.costs, strict=True)
        items = [Item(entry, i, len(t), c) for i, (t, c) in enumerate(sized) if i not in bad]
        entry.unanswered = len(items)
        stopped = self._inflight.accept(entry, items, now)
        if stopped:
            refused = [Failure(i, "UNAVAILABLE", stopped) for i in range(len(work.token_ids))]
        if refused:
            self._deliver([Outcome(work.key, failures=refused)])

    def cancel(self, key: int) -> None:
        """Forget a work whose caller has gone; what is not yet in a batch is never computed."""
        self._inflight.forget(key)

    def waiting(self) -> list[Waiting]:
        """What waits now, by class and client."""
        return self._inflight.waiting()

    def close(self) -> None:
        """Accept no more, answer what was accepted, end the threads.

        Of an engine that has failed a thread may be stuck for ever; it is left behind.
        """
        self._inflight.close()
        for thread in self._threads:
            while thread.is_alive() and not self._inflight.has_failed:
                thread.join(_GIVE_UP_SECONDS)
            thread.join(_GIVE_UP_SECONDS)
        self._watchdog.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; its death is an answer too."""
        try:
            work()
        except DeviceLost as error:
            self._fail(f"the device failed and the server must restart: {error}")
        except BaseException as error:  # noqa: BLE001  nobody else would see it
            _LOG.exception("a thread of the engine died")
            self._fail(f"the server failed and must restart ({type(error).__name__})")

    def _stalled(self, reason: str) -> None:
        """The watchdog's word: say where the threads are, and fail."""
        frames = sys._current_frames()  # noqa: SLF001  the one way to another thread's stack
        for thread in self._threads:
            if frame := frames.get(thread.ident or 0):
                stack = "".join(traceback.format_stack(frame))
                _LOG.critical("%s is at:\n%s", thread.name, stack)
        self._fail(f"the server must restart: {reason}")

    def _launch_all(self) -> None:
        """The launching thread: the only one that starts forwards."""
        while flight := self._inflight.next():
            if flight.error:
                rerun = Rerun(flight.model.runner, self._inflight.moved)
                flight.done = rerun.run(flight.items, flight.error)
                flight.ended = clock.now()
                flight.seconds = (flight.ended - flight.began) / 1e6
            elif flight.items and not self._launch(flight):
                continue
            if self._runs_ahead:
                self._landing.put(flight)
            else:
                self._answer(flight)
        self._landing.put(None)

    def _launch(self, flight: Flight) -> bool:
        """Start a batch; False if it must be run again."""
        if flight.began - self._looked >= _LOOK_EVERY:
            self._looked = flight.began
            self._observer.queue(lambda: QueueRecord(flight.began, self.waiting()))
        try:
            items = flight.items
            flight.launched = flight.model.runner.launch(ids_of(items), prefixes_of(items))
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001  told when it is run again
            self._inflight.broke(flight, error)
            return False
        self._inflight.launched(flight)
        return True

    def _answer_all(self) -> None:
        """The answering thread: waits for each batch in turn, and answers it."""
        while flight := self._landing.get():
            self._answer(flight)

    def _answer(self, flight: Flight) -> None:
        done = flight.done or self._land(flight)
        if not done:
            return
        if flight.items:
            self._ended = max(self._ended, flight.ended)
            self._observer.batch(flight.record(done))
        if self._inflight.settle(flight):
            timed = [replace(outcome, seconds=flight.seconds) for outcome in done.outcomes]
            self._deliver([_expired(item) for item in flight.taken.expired] + timed)

    def _land(self, flight: Flight) -> Done | None:
        """Wait for a batch; None if it must be run again."""
        if not flight.launched:  # all its texts had expired
            return Done()
        try:
            ran = flight.launched.wait()
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001  told when it is run again
            self._inflight.broke(flight, error)
            return None
        if not finite(ran.rows).all():
            self._inflight.broke(flight, RowsNotFinite(ran.rows))
            return None
        self._inflight.landed(flight, ran.ended)
        took = round(ran.seconds * 1e6)
        flight.seconds, flight.ended = ran.seconds, ran.ended
        flight.starved = max(0, ran.ended - took - max(self._ended, flight.since))
        flight.saved = ran.saved
        flight.model.cost.learn([item.tokens for item in flight.items], took, ran.saved)
        flight.model.cost.learn_reuse(sum(prefixes_of(flight.items)), sum(ran.saved))
        return Done(answered(flight.items, ran.rows))

    def _fail(self, reason: str) -> None:
        """Answer everything that was accepted, and everything that comes, with UNAVAILABLE."""
        items = self._inflight.fail(reason)
        if items is not None:
            self._landing.put(None)
            self._deliver([failed(item, "UNAVAILABLE", reason) for item in items])
            self._on_fatal(reason)


def _expired(item: Item) -> Outcome:
    return failed(item, "DEADLINE_EXCEEDED", "the deadline passed while the request waited")
