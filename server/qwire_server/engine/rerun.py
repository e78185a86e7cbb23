"""A batch that failed, run again: in parts, until the failure is that of one text.

Knows nothing about queues, and runs on the thread that launches.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qwire_server.engine.batch import Done, answered, failed, ids_of
from qwire_server.engine.rows import finite
from qwire_server.model.errors import DeviceLost, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.engine.queue.item import Item
    from qwire_server.engine.runner import Runner
    from qwire_server.engine.work import TokenIds
    from qwire_server.model.launched import Launched

_LOG = logging.getLogger("qwire.server")
_NOT_FINITE = (
    "the model's vector for this text is not finite: no vector is better than a wrong one; "
    "another dtype may help (--dtype float32)"
)
_TOO_BIG = "this text alone does not fit the device's memory: lower --max-tokens"


class RowsNotFinite(Exception):
    """A batch ran, and some of its rows hold NaN or infinity."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        super().__init__()
        self.rows = rows


class Rerun:
    """One batch on its second way through the device.

    Args:
        runner: that the batch ran on.
        moved: called after each part, so that the engine is seen to make progress.
    """

    def __init__(self, runner: Runner, moved: Callable[[], None]) -> None:
        self._runner = runner
        self._moved = moved
        self._done = Done()

    def run(self, items: list[Item], error: Exception) -> Done:
        """Run a batch again that failed with `error`, and answer each item.

        Out of memory is met by halving the batch, rows that are not finite by running their texts
        alone on the plain path, any other error by running each text alone once more.

        Raises:
            DeviceLost: the device is gone; nothing was answered.
        """
        if isinstance(error, RowsNotFinite):
            self._answer(items, error.rows)
        else:
            self._narrow(items, error)
        return self._done

    def _narrow(self, items: list[Item], error: Exception, *, alone: bool = False) -> None:
        """Run parts of a failed batch; what cannot be run has failed."""
        parts: Iterable[list[Item]]
        if isinstance(error, OutOfMemory):
            if len(items) == 1:
                self._fail(items[0], "MODEL_FAILED", _TOO_BIG)
                return
            self._done.splits += 1
            middle = len(items) // 2
            parts = (items[:middle], items[middle:])
        else:
            _LOG.error("a batch of %d texts failed", len(items), exc_info=error)
            if alone:
                self._model_failed(items[0], error)
                return
            alone, parts = True, ([item] for item in items)
        for part in parts:
            self._run_part(part, alone=alone)

    def _run_part(self, part: list[Item], *, alone: bool) -> None:
        try:
            rows = self._rows(self._runner.launch, part)
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001  narrowed to its text, and told
            self._narrow(part, error, alone=alone)
        else:
            self._answer(part, rows)

    def _answer(self, items: list[Item], rows: NDArray[np.float32]) -> None:
        """Answer items with their rows; what is not finite is run once more."""
        sound = finite(rows)
        good = [item for item, is_sound in zip(items, sound, strict=True) if is_sound]
        if good:
            self._done.outcomes += answered(good, rows[sound])
        for item, is_sound in zip(items, sound, strict=True):
            if not is_sound:
                self._done.not_finite += 1
                self._run_plain(item)

    def _run_plain(self, item: Item) -> None:
        """Alone, in the same dtype, and neither compiled nor with anything kept."""
        try:
            rows = self._rows(self._runner.launch_plain, [item])
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001  told
            _LOG.exception("a text whose row was not finite failed when it was run alone")
            self._model_failed(item, error)
            return
        if finite(rows).all():
            self._done.outcomes += answered([item], rows)
        else:
            self._fail(item, "NOT_FINITE", _NOT_FINITE)

    def _rows(
        self, launch: Callable[[Sequence[TokenIds]], Launched], part: list[Item]
    ) -> NDArray[np.float32]:
        self._done.retried += len(part)
        try:
            return launch(ids_of(part)).wait().rows
        finally:
            self._moved()

    def _model_failed(self, item: Item, error: Exception) -> None:
        self._fail(item, "MODEL_FAILED", f"the model failed ({type(error).__name__})")

    def _fail(self, item: Item, code: str, message: str) -> None:
        self._done.outcomes.append(failed(item, code, message))
        self._done.failed += 1
