"""The packed forward: token ids in, pooled rows out.

Knows nothing about text, requests or the wire.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwire_server.model.errors import DeviceLost, OutOfMemory
from qwire_server.model.forward import Forward
from qwire_server.model.launched import Ran
from qwire_server.model.packing import pack
from qwire_server.model.prefix import Prefixes, token_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head
    from qwire_server.model.launched import Launched
    from qwire_server.model.prefix import Prefix


class PackedRunner:
    """One model on one device. Not thread-safe: one worker thread owns it.

    Args:
        model: transformers' own.
        head: reads rows from its last hidden states.
        prefix_bytes: most that may be kept of what texts begin with. More than 0 only for a causal
            model whose head reads last tokens.
    """

    def __init__(self, model: PreTrainedModel, head: Head, prefix_bytes: int = 0) -> None:
        self._model = model
        self._device = model.device
        self._forward = Forward(model, head)
        self._prefixes = Prefixes(prefix_bytes, token_bytes(model)) if prefix_bytes else None

    def __repr__(self) -> str:
        return f"<PackedRunner {type(self._model).__name__} {self._model.dtype} {self._device}>"

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return int(self._model.config.vocab_size)

    def launch(self, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int] = ()) -> Launched:
        """Start a forward; on a CPU it has ended when this returns.

        Args:
            token_ids: of each text, none of them empty.
            hints: how many leading tokens of each text others are likely to share; 0 for none.

        Raises:
            OutOfMemory: fewer sequences may fit.
            DeviceLost: the device's context is broken.
        """
        began = time.perf_counter()
        rows, saved = self._run(token_ids, hints)
        return Ran(rows, time.perf_counter() - began, time.monotonic_ns() // 1000, saved)

    def run(
        self, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """Embed sequences: `launch`, and wait.

        Returns:
            (sequences, native dim) float32, pooled, not normalised, in the order given.
        """
        return self._run(token_ids, hints)[0]

    def _run(
        self, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int]
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Rows, and how many tokens of each text were not computed for it."""
        prefix = self._prefixes.choose(token_ids, hints) if self._prefixes else None
        if self._prefixes and prefix:
            try:
                rows = self._rows(token_ids, prefix)
            except OutOfMemory:
                self._prefixes.clear()
            else:
                self._prefixes.keep(prefix)
                return rows, prefix.saved(len(token_ids))
        return self._rows(token_ids), []

    def _rows(
        self, token_ids: Sequence[NDArray[np.int32]], prefix: Prefix | None = None
    ) -> NDArray[np.float32]:
        with _mapped_errors(self._device), torch.inference_mode():
            packed = pack(token_ids, self._device, prefix)
            pooled = self._forward(packed).cpu().numpy()
        pooled = pooled[-len(token_ids) :]  # the first may be of a prefix
        rows = np.empty_like(pooled)
        rows[packed.order] = pooled
        return rows

    def warm_up(self, batch_tokens: int) -> None:
        """Run once small, and on CUDA once full, so that the first request is like any other."""
        short = [np.zeros(3, np.int32), np.zeros(5, np.int32)]
        self.run(short)
        if self._device.type == "cuda":
            self.run([np.zeros(256, np.int32)] * max(1, batch_tokens // 256))

    def seconds(self, lengths: Sequence[int]) -> float:
        """How long one forward of texts of these lengths takes."""
        texts = [np.zeros(length, np.int32) for length in lengths]
        began = time.perf_counter()
        self.run(texts)  # ends when its rows are back, so the device is done
        return time.perf_counter() - began


@contextmanager
def _mapped_errors(device: torch.device) -> Iterator[None]:
    """Foreign errors by what helps. On CUDA anything but out-of-memory is sticky."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):
            raise OutOfMemory(str(error)) from error
        if device.type == "cuda":
            raise DeviceLost(str(error).splitlines()[0]) from error
        raise
