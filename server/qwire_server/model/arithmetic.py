"""What a model's forward takes, read from its modules, and what its device can do at best."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROUNDS = 4  # the best of them: what else runs on the machine can only slow a product down
# Large enough to be bound by arithmetic, small enough to be over at once.
_SIDES = {"cuda": 8192, "cpu": 768}


def per_token(model: PreTrainedModel) -> float:
    """Operations for one token: two for each weight of its layers."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    linear = {m for each in layers for m in each.modules() if isinstance(m, torch.nn.Linear)}
    return 2.0 * sum(m.weight.numel() for m in linear)


def per_square(model: PreTrainedModel, *, causal: bool) -> float:
    """Operations of attention, to be multiplied by the square of a text's tokens.

    Two products of two operations for each pair of tokens; of a causal model half the pairs.
    """
    config = model.config
    heads: int = config.num_attention_heads
    width: int = getattr(config, "head_dim", None) or config.hidden_size // heads
    pairs: int = config.num_hidden_layers * heads * width
    return 4.0 * pairs / (2 if causal else 1)


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large product of matrices; 0 if there is no memory for one."""
    side = _SIDES[device.type]
    try:
        seconds = _best_seconds(side, device, dtype)
    except torch.OutOfMemoryError:
        return 0.0
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return 2 * side**3 / seconds


def _best_seconds(side: int, device: torch.device, dtype: torch.dtype) -> float:
    left, right = (torch.rand(side, side, dtype=dtype, device=device) for _ in range(2))
    return min(_product_seconds(left, right) for _ in range(_ROUNDS))


def _product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    began = time.perf_counter()
    product = torch.mm(left, right)
    if product.is_cuda:
        torch.cuda.synchronize(product.device)
    return time.perf_counter() - began
