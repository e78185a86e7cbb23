"""Every attention backend against one reference, computed the slow and obvious way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qwire_server.model.attention import attend_sdpa, attend_varlen
from qwire_server.model.packing import pack

LENGTHS = [7, 1, 3, 7, 64, 3, 129]
HEADS = [(4, 4), (4, 2), (8, 1)]


def reference(q, k, v, lengths, *, causal, scale):
    """Softmax of scaled products, one sequence and one head at a time, in float64."""
    out, start = torch.empty_like(q, dtype=torch.float64), 0
    group = q.shape[1] // k.shape[1]
    for n in lengths:
        span = slice(start, start + n)
        for head in range(q.shape[1]):
            scores = q[span, head].double() @ k[span, head // group].double().T * scale
            if causal:
                scores = scores.masked_fill(
                    torch.ones(n, n).triu(1).bool().to(q.device), -torch.inf
                )
            out[span, head] = scores.softmax(-1) @ v[span, head // group].double()
        start += n
    return out


def inputs(heads, kv_heads, device, dtype):
    packed = pack([np.zeros(n, np.int32) for n in LENGTHS], torch.device(device))
    generator = torch.Generator().manual_seed(0)
    total = sum(LENGTHS)
    shapes = [(total, heads, 16), (total, kv_heads, 16), (total, kv_heads, 16)]
    tensors = [torch.randn(s, generator=generator).to(device, dtype) for s in shapes]
    return tensors, packed


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_sdpa_equals_the_reference(heads, kv_heads, causal):
    (q, k, v), packed = inputs(heads, kv_heads, "cpu", torch.float32)
    got = attend_sdpa(q, k, v, packed, causal=causal, scale=0.3)
    expected = reference(q, k, v, sorted(LENGTHS), causal=causal, scale=0.3)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_the_packed_kernel_equals_the_reference(heads, kv_heads, causal):
    (q, k, v), packed = inputs(heads, kv_heads, "cuda", torch.bfloat16)
    got = attend_varlen(q, k, v, packed, causal=causal, scale=0.3)
    expected = reference(q, k, v, sorted(LENGTHS), causal=causal, scale=0.3)
    torch.testing.assert_close(got.double(), expected, atol=2e-2, rtol=2e-2)


def test_packing_sorts_by_length_and_remembers_the_order():
    packed = pack([np.array([5] * n, np.int32) for n in (3, 1, 3, 2)], torch.device("cpu"))
    assert packed.order.tolist() == [1, 3, 0, 2]
    assert packed.offsets.tolist() == [0, 1, 3, 6, 9]
    assert packed.positions.tolist() == [[0, 0, 1, 0, 1, 2, 0, 1, 2]]
    assert packed.groups == [(0, 1, 1), (1, 1, 2), (3, 2, 3)]
    assert packed.max_length == 3
