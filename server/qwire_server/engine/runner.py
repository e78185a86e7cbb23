"""What the engine asks of a model: one method and one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

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
