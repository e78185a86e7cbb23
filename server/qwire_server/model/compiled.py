"""One layer compiled, for all layers and all batches; nothing compiles once it is warm."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir

from qwire_server.model.opaque import OpaqueForward, layers
from qwire_server.model.packing import pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head
    from qwire_server.model.packing import Packed

_LOG = logging.getLogger("qwire.server")


class CompiledForward(OpaqueForward):
    """The model with compiled layers. Compiles when it is made, for `batch_tokens` at best.

    What the compiled code does not cover (a batch of one token) runs as it is.

    Args:
        model: on its device, with its weights.
        head: what is read from the last hidden states.
        batch_tokens: of a typical batch; kernels are tuned for it.
        backend: of `torch.compile`; `aot_eager` traces and generates no code.

    Raises:
        Exception: many kinds; without a C++ compiler or Triton, for example.
    """

    def __init__(
        self, model: PreTrainedModel, head: Head, batch_tokens: int, backend: str = "inductor"
    ) -> None:
        super().__init__(model, head)
        for layer in layers(self.twin):
            layer.compile(dynamic=True, fullgraph=True, backend=backend)
        typical = _typical(batch_tokens, model.device)
        # Not its own `rows`: that never compiles.
        super().rows(typical.ids, typical.positions, typical.offsets, typical.max_length).cpu()

    def rows(
        self, ids: torch.Tensor, positions: torch.Tensor, offsets: torch.Tensor, max_length: int
    ) -> torch.Tensor:
        """As of the twin, never compiling."""
        with torch.compiler.set_stance("eager_on_recompile"):
            return super().rows(ids, positions, offsets, max_length)


def try_compile(model: PreTrainedModel, head: Head, batch_tokens: int) -> CompiledForward | None:
    """The compiled forward, or None and a loud warning where this machine cannot compile."""
    began = time.monotonic()
    try:
        forward = CompiledForward(model, head, batch_tokens)
    except Exception as error:  # noqa: BLE001  the compiler and its tools raise what they like
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        _LOG.warning(
            "THE MODEL CANNOT BE COMPILED HERE and runs slower, operation by operation: %s; "
            "--compile off says that this is meant",
            first_line,
        )
        return None
    _LOG.info(
        "compiled in %.1f s; %s keeps it for the next start", time.monotonic() - began, cache_dir()
    )
    return forward


def _typical(batch_tokens: int, device: torch.device) -> Packed:
    """A batch of which no two sizes are equal: what is equal, the compiler takes for one size."""
    lengths = [3, 5, *[61] * (batch_tokens // 61)]
    with torch.inference_mode():
        return pack([np.zeros(length, np.int32) for length in lengths], device)
