"""From a packed batch to its rows: transformers' own model, and what is read from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from qwire_server.model.attention import attend_sdpa, attend_varlen
from qwire_server.model.compiled import try_compile
from qwire_server.model.device import has_native_bf16
from qwire_server.model.graphed import try_graphs
from qwire_server.model.opaque import OpaqueForward

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qwire_server.model.attention import Attend
    from qwire_server.model.packing import Packed

    Compile = Literal["auto", "on", "off"]
    Graphs = Literal["auto", "off"]

_LOG = logging.getLogger("qwire.server")


class Head(Protocol):
    """What is read from the last hidden states.

    Shapes: hidden (T, hidden size), any float dtype; offsets (n + 1,) where each sequence begins;
    result (n, row dim) float32.
    """

    def __call__(self, hidden: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Rows of the packed sequences, in packed order."""


class PackedForward(Protocol):
    """The model, its head and the way they run."""

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Rows, (n, row dim) float32 on the device, in packed order."""


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
            offsets=packed.offsets,  # what a hook of the model may ask of any forward
            packed=packed,
            attend=self._attend,
        )
        return self._head(output.last_hidden_state[0], packed.offsets)


def make_forward(
    model: PreTrainedModel,
    head: Head,
    *,
    compiled: Compile,
    graphs: Graphs,
    batch_tokens: int,
) -> PackedForward:
    """The fastest forward that this device allows, warm: what compiles or is captured, is.

    Args:
        model: on its device.
        head: what is read from the last hidden states.
        compiled: `auto` compiles on a GPU with the packed kernel, `on` on a CPU too.
        graphs: `auto` captures CUDA graphs where there is the packed kernel.
        batch_tokens: most tokens in one forward.
    """
    kernel = choose_attention(model.device, model.dtype) is attend_varlen
    if compiled == "on" and model.device.type == "cuda" and not kernel:
        _LOG.warning("--compile on: not on this GPU in %s, it has no packed kernel", model.dtype)
    on_cpu = compiled == "on" and model.device.type == "cpu"
    graphed = kernel and graphs == "auto"
    forward: OpaqueForward | None = None
    if on_cpu or (kernel and compiled != "off"):
        forward = try_compile(model, head, batch_tokens)
    if graphed:
        return try_graphs(forward or OpaqueForward(model, head), model.device, batch_tokens)
    return forward or Forward(model, head)


def choose_attention(device: torch.device, dtype: torch.dtype) -> Attend:
    """The packed kernel where it exists, SDPA elsewhere."""
    if has_native_bf16(device) and dtype in {torch.bfloat16, torch.float16}:
        return attend_varlen
    return attend_sdpa
