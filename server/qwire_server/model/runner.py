"""The packed forward: token ids in, pooled rows out.

Knows nothing about text, requests or the wire.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwire_server.model.device import mapped_errors
from qwire_server.model.errors import OutOfMemory
from qwire_server.model.forward import Forward
from qwire_server.model.launched import timed
from qwire_server.model.on_stream import OnStream
from qwire_server.model.packing import pack
from qwire_server.model.prefix import Prefixes, token_bytes
from qwire_server.model.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head, PackedForward
    from qwire_server.model.launched import Launched
    from qwire_server.model.prefix import Prefix
    from qwire_server.model.staging import Fetched

_HOST = torch.device("cpu")


class PackedRunner:
    """One model on one device. Not thread-safe: one worker thread owns it.

    Args:
        model: transformers' own.
        head: reads rows from its last hidden states.
        prefix_bytes: most that may be kept of what texts begin with. More than 0 only for a causal
            model whose head reads last tokens.
        forward: of the same model and head, for batches without a prefix; as it is by default.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        head: Head,
        prefix_bytes: int = 0,
        forward: PackedForward | None = None,
    ) -> None:
        self._model = model
        self._device = model.device
        self._plain = Forward(model, head)
        self._forward = forward or self._plain
        self._staging = Staging(model.device)
        self._prefixes = Prefixes(prefix_bytes, token_bytes(model)) if prefix_bytes else None

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

    @property
    def keeps_prefixes(self) -> bool:
        """Whether what texts begin with may be kept."""
        return self._prefixes is not None

    def launch(self, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int] = ()) -> Launched:
        """Start embedding sequences, none of them empty; on a CPU it has ended when this returns.

        The result's rows are (sequences, row dim) float32, not normalised, in the order given.

        Args:
            token_ids: of each text.
            hints: how many leading tokens of each text others are likely to share; 0 for none.

        Raises:
            OutOfMemory: fewer sequences may fit.
            DeviceLost: the device's context is broken.
        """
        prefix = self._prefixes.choose(token_ids, hints) if self._prefixes else None
        if not self._prefixes or not prefix:
            return self._launch(token_ids)
        try:
            launched = self._launch(token_ids, prefix)
        except OutOfMemory:
            self._prefixes.clear()
            return self._launch(token_ids)
        self._prefixes.keep(prefix)
        return launched

    def launch_plain(self, token_ids: Sequence[NDArray[np.int32]]) -> Launched:
        """The same operation by operation: neither compiled nor captured, no prefix.

        What was kept of prefixes is forgotten: it may be why this is asked for.
        """
        if self._prefixes:
            self._prefixes.clear()
        return self._launch(token_ids, forward=self._plain)

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

    def _launch(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        prefix: Prefix | None = None,
        forward: PackedForward | None = None,
    ) -> Launched:
        saved = prefix.saved(len(token_ids)) if prefix else []
        forward = forward or (self._plain if prefix else self._forward)
        if self.runs_ahead:
            return OnStream(self._device, lambda: self._start(token_ids, prefix, forward), saved)
        return timed(lambda: self._run(token_ids, prefix, forward), saved)

    def _start(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        prefix: Prefix | None,
        forward: PackedForward,
    ) -> Fetched:
        """Enqueue it all: the batch there, the forward, the rows back."""
        with torch.inference_mode():
            packed = self._staging.stage(pack(token_ids, _HOST, prefix))
            rows = forward(packed)
            # The first row may be the prefix's.
            return self._staging.fetch(rows[-len(token_ids) :], packed.order)

    def _run(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        prefix: Prefix | None,
        forward: PackedForward,
    ) -> NDArray[np.float32]:
        with mapped_errors(self._device):
            return self._start(token_ids, prefix, forward).wait()
