"""What the engine asks of a model: one method, one number, and what its work costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.engine.queue.cost import CostModel
    from qwire_server.engine.work import TokenIds


class Runner(Protocol):
    """A model on a device; `model.runner` has the real one."""

    @property
    def vocab_size(self) -> int:
        """Ids below it are valid."""

    def run(self, token_ids: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Pooled rows, (texts, native dim) float32, in the order given.

        Raises:
            OutOfMemory: a smaller batch may fit.
            DeviceLost: nothing will run any more.
            Exception: anything else is blamed on a text, which is found by running each alone.
        """


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the engine runs; `cost` learns from each of its batches."""

    runner: Runner
    cost: CostModel
