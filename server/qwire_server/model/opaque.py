"""The model as a function of tensors alone: what the compiler and CUDA graphs can work with.

Same weights and same code of transformers as `forward.Forward`, under an attention that is one
operator to the compiler. Knows nothing about compiling.
"""

from __future__ import annotations

import copy
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface

from qwire_server.model.attention import sdpa, varlen

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head
    from qwire_server.model.packing import Packed

NAME = "qwire_opaque"


class OpaqueForward:
    """A twin of the model that shares its weights, so that the model itself stays as it is.

    Attributes:
        twin: its layers may be compiled; the model's are not.
    """

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        AttentionInterface.register(NAME, _hook)
        shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
        self.twin: PreTrainedModel = copy.deepcopy(model, shared)
        self.twin.set_attn_implementation(NAME)
        self._head = head

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Rows, (n, row dim) float32 on the device, in packed order."""
        return self.rows(packed.ids, packed.positions, packed.offsets, packed.max_length)

    def rows(
        self, ids: torch.Tensor, positions: torch.Tensor, offsets: torch.Tensor, max_length: int
    ) -> torch.Tensor:
        """The same of the tensors of a `Packed`; no sequence is longer than `max_length`."""
        with torch.inference_mode():
            output = self.twin(
                input_ids=ids,
                position_ids=positions,
                use_cache=False,
                offsets=_inference(offsets),
                max_length=max_length,
            )
            return self._head(output.last_hidden_state[0], offsets)


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The repeated part of the model: decoder layers, or those of a BERT-like encoder."""
    found = model.get_submodule("encoder.layer" if hasattr(model, "encoder") else "layers")
    assert isinstance(found, torch.nn.ModuleList)
    return found


def _inference(tensor: torch.Tensor) -> torch.Tensor:
    """Compiled code knows an inference tensor from another, and would be compiled for each."""
    return tensor if tensor.is_inference() else tensor.clone()


def _hook(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    offsets: torch.Tensor,
    max_length: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in each layer: tensors are (1, heads, T, head_dim)."""
    q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))
    result = torch.ops.qwire.attend_packed(
        q, k, v, offsets, max_length, bool(module.is_causal), scaling
    )
    return result.unsqueeze(0), None


@torch.library.custom_op(
    "qwire::attend_packed",
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, Tensor offsets, SymInt max_length, "
    "bool causal, float? scale) -> Tensor",
)
def attend_packed(  # noqa: PLR0917  an operator's arguments have no names
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    offsets: torch.Tensor,
    max_length: int,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """Packed attention as one operator of tensors and numbers.

    Shapes: query (T, heads, head_dim); key and value (T, kv_heads, head_dim); offsets (n + 1,)
    int32, of which neighbours may be equal; result as the query, contiguous.
    """
    if query.is_cuda:
        bounds = (offsets, offsets, max_length, max_length)
        return varlen(query, key, value, bounds, causal=causal, scale=scale).contiguous()
    runs = [(len(list(same)), n, 0) for n, same in groupby(offsets.diff().tolist())]
    return sdpa(query, key, value, runs, causal=causal, scale=scale)


@attend_packed.register_fake
def _(query: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)
