"""The packed forward: token ids in, pooled rows out.

Knows nothing about text, requests or the wire.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwire_server.model.device import mapped_errors
from qwire_server.model.forward import Forward
from qwire_server.model.launched import timed
from qwire_server.model.on_stream import OnStream, in_order
from qwire_server.model.packing import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head
    from qwire_server.model.launched import Launched


class PackedRunner:
    """One model on one device. Not thread-safe: one worker thread owns it."""

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        self._model = model
        self._device = model.device
        self._forward = Forward(model, head)

    def __repr__(self) -> str:
        return f"<PackedRunner {type(self._model).__name__} {self._model.dtype} {self._device}>"

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return int(self._model.config.vocab_size)

    @property
    def runs_ahead(self) -> bool:
        """Whether `launch` returns before the device is done."""
        return bool(self._device.type == "cuda")

    def launch(self, token_ids: Sequence[NDArray[np.int32]]) -> Launched:
        """Start embedding sequences, none of them empty; on a CPU it has ended when this returns.

        The result's rows are (sequences, row dim) float32, not normalised, in the order given.

        Raises:
            OutOfMemory: fewer sequences may fit.
            DeviceLost: the device's context is broken.
        """
        if self.runs_ahead:
            return OnStream(self._device, lambda: self._start(token_ids))
        return timed(lambda: self._run(token_ids))

    def run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The same, waited for."""
        return self.launch(token_ids).wait().rows

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

    def _start(
        self, token_ids: Sequence[NDArray[np.int32]]
    ) -> tuple[torch.Tensor, NDArray[np.int64]]:
        """Rows on the device, in packed order, and that order."""
        with torch.inference_mode():
            packed = pack(token_ids, self._device)
            return self._forward(packed), packed.order

    def _run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        with mapped_errors(self._device):
            rows, order = self._start(token_ids)
            return in_order(rows.numpy(), order)
