"""From a packed batch to its rows: transformers' own model, and what is read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from qwire_server.model.attention import attend_sdpa, attend_varlen
from qwire_server.model.device import has_native_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qwire_server.model.attention import Attend
    from qwire_server.model.packing import Packed


class Head(Protocol):
    """What is read from the last hidden states.

    Shapes: hidden (T, hidden size), any float dtype; offsets (n + 1,) where each sequence begins;
    result (n, row dim) float32.
    """

    def __call__(self, hidden: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Rows of the packed sequences, in packed order."""


class Forward:
    """The model as it is, operation by operation. Any device, any dtype."""

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        self._model = model
        self._head = head
        self._attend = choose_attention(model.device, model.dtype)

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Rows, (n, row dim) float32 on the device, in packed order."""
        output = self._model(
            input_ids=packed.ids,
            position_ids=packed.positions,
            use_cache=False,
            packed=packed,
            attend=self._attend,
        )
        return self._head(output.last_hidden_state[0], packed.offsets)


def choose_attention(device: torch.device, dtype: torch.dtype) -> Attend:
    """The packed kernel where it exists, SDPA elsewhere."""
    if has_native_bf16(device) and dtype in {torch.bfloat16, torch.float16}:
        return attend_varlen
    return attend_sdpa
