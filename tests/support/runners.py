"""Working fakes of a model: what the engine runs when a test is not about vectors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from qwire_server.model.launched import timed
from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from qwire_server.model.launched import Launched, Ran

VOCAB_SIZE = 1000
DIM = 8


def row(ids: NDArray[np.int32], dim: int = DIM) -> NDArray[np.float32]:
    """A vector that depends on the ids and their order, and on nothing else."""
    seed = sum((i + 1) * int(token) for i, token in enumerate(ids))
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


class FakeRunner:
    """Gives `row` of each text; can be held back, and told to fail.

    Attributes:
        batches: lengths of the texts of each batch that was run.
        gate: clear it, and the next batch waits until it is set.
        entered: released once for each batch that has begun.
        fails: called with each batch; what it raises, the model raises.
    """

    vocab_size = VOCAB_SIZE
    runs_ahead = False

    def __init__(self, dim: int = DIM) -> None:
        self.dim = dim
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.fails: Callable[[Sequence[NDArray[np.int32]]], None] | None = None

    def launch(
        self, token_ids: Sequence[NDArray[np.int32]], _hints: Sequence[int] = ()
    ) -> Launched:
        return timed(lambda: self.run(token_ids))

    def launch_plain(self, token_ids: Sequence[NDArray[np.int32]]) -> Launched:
        return self.launch(token_ids)

    def run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        self.batches.append([len(ids) for ids in token_ids])
        self.entered.release()
        assert self.gate.wait(hang_limit(50)), "a test forgot to open the gate"
        if self.fails:
            self.fails(token_ids)
        return np.stack([row(ids, self.dim) for ids in token_ids])


class StreamRunner(FakeRunner):
    """The same on a device that works on its own, one batch after the other, as a GPU does.

    Attributes:
        most: batches that were launched and not yet done, at most.
    """

    runs_ahead = True

    def __init__(self, dim: int = DIM) -> None:
        super().__init__(dim)
        self.most = 0
        self._on_it: list[Future[Ran]] = []
        self._device = ThreadPoolExecutor(1)

    def launch(
        self, token_ids: Sequence[NDArray[np.int32]], _hints: Sequence[int] = ()
    ) -> Launched:
        self._on_it = [future for future in self._on_it if not future.done()]
        self._on_it.append(self._device.submit(timed, lambda: self.run(token_ids)))
        self.most = max(self.most, len(self._on_it))
        return _OnItsWay(self._on_it[-1])


class _OnItsWay:
    def __init__(self, future: Future[Ran]) -> None:
        self._future = future

    def wait(self) -> Ran:
        return self._future.result()
