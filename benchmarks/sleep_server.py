"""`benchmarks.free_server` with a slow model: `python -m benchmarks.sleep_server SECONDS`.

SECONDS are those that a text takes. A sleep costs no processor, so several servers share a machine
as if each had a device of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.free_server import FreeRunner, load_free, serve
from qwire_server import logs
from qwire_server.engine.queue.cost import CostModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

_TOKENS = 16  # of a text


class SleepRunner(FreeRunner):
    """Takes the same time for each text of a batch."""

    def __init__(self, vocab_size: int, seconds_per_text: float) -> None:
        super().__init__(vocab_size)
        self._seconds = seconds_per_text

    def _run(self, count: int) -> NDArray[np.float32]:
        time.sleep(self._seconds * count)
        return super()._run(count)


def load_sleep(settings: Settings, seconds_per_text: float) -> LoadedModel:
    """What `load_free` gives, slowed down."""
    free = load_free(settings)
    runner = SleepRunner(free.runner.vocab_size, seconds_per_text)
    return replace(free, runner=runner, cost=CostModel(per_token=seconds_per_text * 1e6 / _TOKENS))


if __name__ == "__main__":
    logs.configure("text", "info")
    seconds = float(sys.argv[1])
    raise SystemExit(asyncio.run(serve(lambda settings: load_sleep(settings, seconds))))
