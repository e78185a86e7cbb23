"""Working fakes of a model: what the engine runs when a test is not about vectors."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

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

    def __init__(self, dim: int = DIM) -> None:
        self.dim = dim
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.fails: Callable[[Sequence[NDArray[np.int32]]], None] | None = None

    def run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        self.batches.append([len(ids) for ids in token_ids])
        self.entered.release()
        assert self.gate.wait(10), "a test forgot to open the gate"
        if self.fails:
            self.fails(token_ids)
        return np.stack([row(ids, self.dim) for ids in token_ids])
