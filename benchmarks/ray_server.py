"""`qwire deploy` with a model that only sleeps: `python -m benchmarks.ray_server --model SECONDS`.

Everything else is the real thing. So many seconds pass for each text, one after the other, as on a
device of that speed; 0 is the model of `free_server`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.free_server import DIM, FreeRunner, load_free
from qwire_server import logs
from qwire_server.engine.queue.cost import CostModel
from qwire_server.model.launched import timed
from qwire_server.settings import load_as
from qwire_server.settings.deploy import DeploySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.engine.work import TokenIds
    from qwire_server.load import LoadedModel
    from qwire_server.model.launched import Ran
    from qwire_server.settings import Settings

__all__ = ["DIM", "load_sleeping"]
_TOKENS = 16  # of each text that is sent


class SleepingRunner(FreeRunner):
    """Answers as `FreeRunner` does, after so many seconds for each text."""

    def __init__(self, vocab_size: int, seconds: float) -> None:
        super().__init__(vocab_size)
        self._seconds = seconds

    def launch(self, token_ids: Sequence[TokenIds], _hints: Sequence[int] = ()) -> Ran:
        """Rows that have nothing to do with the texts."""
        return timed(lambda: self._sleep_and_run(len(token_ids)))

    def _sleep_and_run(self, count: int) -> NDArray[np.float32]:
        time.sleep(self._seconds * count)
        return self._run(count)


def load_sleeping(settings: Settings) -> LoadedModel:
    """The free model, or one that sleeps: the name says how long."""
    free, seconds = load_free(settings), float(settings.model)
    if not seconds:
        return free
    runner = SleepingRunner(free.runner.vocab_size, seconds)
    return replace(free, runner=runner, cost=CostModel(per_token=seconds * 1e6 / _TOKENS))


def main() -> None:
    """Deploy; flags are those of `qwire deploy`."""
    from benchmarks.ray_server import load_sleeping  # noqa: PLC0415  not __main__'s, for replicas
    from qwire_server.cluster.deploy import deploy  # noqa: PLC0415  it needs Ray

    logs.configure("text", "info")
    deploy(load_as(DeploySettings, sys.argv[1:], "deploy"), load=load_sleeping)


if __name__ == "__main__":
    main()
