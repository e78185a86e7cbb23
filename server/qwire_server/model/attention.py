"""Attention over packed sequences: one function a device, one signature, one reference.

Sequences lie end to end in one dimension of T tokens; no sequence sees another. The functions are
reached through transformers' own hook (`AttentionInterface`), so that its models run unchanged.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qwire_server.model.packing import Packed

NAME = "qwire_packed"
_BLOCK = 512  # tokens: a mask of 512 by 32,000 takes 16 MB


class Attend(Protocol):
    """Packed attention.

    Shapes: query (T, heads, head_dim); key and value (K, kv_heads, head_dim), heads a multiple of
    kv_heads; result (T, heads, head_dim), in the query's dtype. A sequence with more keys than
    tokens is the end of a longer one: each token sees all keys before its own.
    """

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        packed: Packed,
        *,
        causal: bool,
        scale: float | None,
    ) -> torch.Tensor:
        """Attend within each sequence of `packed`."""


def attend_sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packed: Packed,
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """Any device and dtype: one SDPA call for each run of equally long sequences."""
    befores = packed.keys.before if packed.keys else [0] * len(packed.groups)
    runs = [
        (count, length, b) for (_, count, length), b in zip(packed.groups, befores, strict=True)
    ]
    return sdpa(query, key, value, runs, causal=causal, scale=scale)


def sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    runs: Iterable[tuple[int, int, int]],
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """The same of `runs`: how many sequences, of how many tokens, after how many keys of a prefix.

    Contiguous, whatever the query is.
    """
    result = torch.empty_like(query, memory_format=torch.contiguous_format)
    grouped = key.shape[1] != query.shape[1]
    start = key_start = 0
    for count, length, before in runs:
        if not length:
            continue
        span = slice(start, start + count * length)
        key_span = slice(key_start, key_start + count * (length + before))
        start, key_start = span.stop, key_span.stop
        q = query[span].unflatten(0, (count, length)).transpose(1, 2)
        k, v = (t[key_span].unflatten(0, (count, -1)).transpose(1, 2) for t in (key, value))
        if before:
            assert causal, "only a causal model has prefixes: this is a bug"
            out = _attend_after(q, k, v, before, scale=scale, grouped=grouped)
        else:
            out = scaled_dot_product_attention(
                q, k, v, is_causal=causal, scale=scale, enable_gqa=grouped
            )
        result[span] = out.transpose(1, 2).flatten(0, 1)
    return result


def _attend_after(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    before: int,
    *,
    scale: float | None,
    grouped: bool,
) -> torch.Tensor:
    """Causal attention of the last tokens of sequences; `is_causal` would mean their first.

    In blocks of tokens, because each needs a mask of all keys before it.
    """
    parts = []
    for start in range(0, query.shape[2], _BLOCK):
        part = query[:, :, start : start + _BLOCK]
        seen = before + start + part.shape[2]
        mask = torch.ones(part.shape[2], seen, dtype=torch.bool, device=query.device)
        parts.append(
            scaled_dot_product_attention(
                part,
                key[:, :, :seen],
                value[:, :, :seen],
                attn_mask=mask.tril(before + start),
                scale=scale,
                enable_gqa=grouped,
            )
        )
    return torch.cat(parts, dim=2)


def attend_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packed: Packed,
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """CUDA, compute capability 8.0 and more, bf16 or fp16: one kernel for the whole batch."""
    keys = packed.keys or packed
    bounds = (packed.offsets, keys.offsets, packed.max_length, keys.max_length)
    return varlen(query, key, value, bounds, causal=causal, scale=scale)


def varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: tuple[torch.Tensor, torch.Tensor, int, int],
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """The same of `bounds`: offsets of tokens and of keys, most of each in one sequence."""
    kernel, extra = varlen_kernel()
    window = (-1, 0 if causal else -1)
    result = kernel(query, key, value, *bounds, scale=scale, window_size=window, **extra)
    assert isinstance(result, torch.Tensor)  # a pair only with return_aux
    return result


@cache
def varlen_kernel() -> tuple[Callable[..., Any], dict[str, bool]]:
    """The kernel, and what this torch wants besides: looked up once, not in each layer."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  imports CUDA's part

    # torch 2.12 and later want grouped heads said aloud; 2.11 has no such parameter.
    grouped = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return varlen_attn, {"enable_gqa": True} if grouped else {}


def _hook(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    packed: Packed,
    attend: Attend,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in each layer: tensors are (1, heads, T, head_dim)."""
    q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))
    if packed.keys:
        layer = module.layer_idx
        assert isinstance(layer, int)
        k, v = packed.keys.prefix.arrange(layer, k, v, packed.keys.rows)
    result = attend(q, k, v, packed, causal=bool(module.is_causal), scale=scaling)
    return result.unsqueeze(0), None


def register() -> None:
    """Make `attn_implementation=NAME` known to transformers.

    No mask function is registered under that name, so transformers builds no mask.
    """
    AttentionInterface.register(NAME, _hook)
