"""The packed forward alone, in this process: `python -m benchmarks.gpu_forward`.

The shape of Qwen3-Embedding-0.6B with random weights, on the GPU if there is one. For each length:
full batches (tokens a second, and the part of what a matrix product measured in the same run
reaches), and one text alone (milliseconds until its row is back); operation by operation, compiled,
and by CUDA graphs. What was measured is written after every cell.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import machine
from benchmarks.rounds import digits
from benchmarks.save import RESULTS, save, stem
from benchmarks.shaped import random_model
from qwire_server.model import attention
from qwire_server.model.compiled import CompiledForward
from qwire_server.model.device import choose_device, choose_dtype, describe_device
from qwire_server.model.forward import Forward
from qwire_server.model.graphed import GraphedForward
from qwire_server.model.packing import pack
from qwire_server.model.pooling import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwire_server.model.forward import PackedForward
    from qwire_server.model.packing import Packed

_LENGTHS = (16, 50, 128, 512, 2048, 8192)
_FULL_LAYERS = 28
_ENTRIES = 151669
_ROUNDS = 5
_PRODUCT = {"cuda": 8192, "cpu": 1024}  # rows and columns; large enough for the device's best


def main(argv: Sequence[str] | None = None, folder: Path = RESULTS) -> None:
    """Measure, print a line for each cell, write JSON after each."""
    asked = _arguments(argv)
    device = choose_device(asked.device)
    dtype = choose_dtype(asked.dtype, device)
    attention.register()
    shape: Any = random_model(asked.layers, asked.entries, attn_implementation=attention.NAME)
    model = shape.to(device, dtype).eval()
    about = machine.about()
    peak = _matrix_product(device, dtype)
    result = about | {
        "device": describe_device(device),
        "dtype": str(dtype).removeprefix("torch."),
        "torch_cuda": torch.version.cuda,
        "layers": asked.layers,
        "batch_tokens": asked.batch_tokens,
        "matrix_product_tflops": digits(peak / 1e12),
        "ready_seconds": {},
        "cells": [],
    }
    name = f"{stem(about)}-forward-{device.type}"
    ways = _ways(model, asked, result["ready_seconds"])
    some = np.random.default_rng(0).integers(0, asked.entries, max(asked.lengths)).astype(np.int32)
    for length in asked.lengths:
        for texts in sorted({1, max(1, asked.batch_tokens // length)}):
            with torch.inference_mode():
                packed = pack([some[:length]] * texts, device)
            for cell in _measure(ways, packed, asked.seconds):
                flops = cell["tokens_per_second"] * _flops_per_token(asked.layers, length)
                result["cells"].append(cell | {"mfu": digits(flops / peak)})
                print(result["cells"][-1], flush=True)
            save(result, folder, name)


def _ways(
    model: PreTrainedModel, asked: argparse.Namespace, ready: dict[str, float]
) -> dict[str, PackedForward]:
    head = partial(pool, pooling="last")
    ways: dict[str, PackedForward] = {"eager": Forward(model, head)}
    if not asked.compile:
        return ways
    began = time.perf_counter()
    compiled = CompiledForward(model, head, asked.batch_tokens)
    ready["compiled"] = digits(time.perf_counter() - began)
    ways["compiled"] = compiled
    if model.device.type == "cuda":
        from qwire_server.model.cuda_graphs import CudaGraphs  # noqa: PLC0415  needs a GPU

        began = time.perf_counter()
        graphs = CudaGraphs(model.device)
        ways["graphs"] = GraphedForward(compiled, model.device, asked.batch_tokens, graphs)
        ready["graphs"] = digits(time.perf_counter() - began)
        ready["graphs_mib"] = graphs.bytes() / 2**20
    return ways


def _measure(
    ways: dict[str, PackedForward], packed: Packed, seconds: float
) -> list[dict[str, Any]]:
    """One cell for each way; rounds in turns."""
    runs = {name: partial(_run, forward, packed) for name, forward in ways.items()}
    repeats = {name: _repeats(run, seconds / _ROUNDS) for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    alone: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            rates[name].append(_seconds(run, repeats[name]) / repeats[name])
            alone[name].append(_seconds(run, 1))
    return [
        {
            "way": name,
            "length": packed.max_length,
            "texts": len(packed.order),
            "tokens_per_second": digits(packed.ids.numel() / median(rates[name])),
            "milliseconds": digits(median(alone[name]) * 1000),
            "rounds_ms": [digits(each * 1000) for each in rates[name]],
        }
        for name in runs
    ]


def _run(forward: PackedForward, packed: Packed) -> torch.Tensor:
    with torch.inference_mode():
        return forward(packed)


def _repeats(run: Callable[[], torch.Tensor], seconds: float) -> int:
    """How many take about so long; the first run warms up and does not count."""
    _seconds(run, 1)
    return max(1, round(seconds / _seconds(run, 1)))


def _seconds(run: Callable[[], torch.Tensor], times: int) -> float:
    """Until the last rows are back; they come after all others, by the order of the stream."""
    began = time.perf_counter()
    for _ in range(times):
        rows = run()
    rows.cpu()
    return time.perf_counter() - began


def _matrix_product(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product, the median of several."""
    size = _PRODUCT[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def product() -> torch.Tensor:
        torch.matmul(left, right, out=out)
        return out[0, 0]

    out = torch.empty_like(left)
    _seconds(product, 3)
    return 2 * size**3 / median(_seconds(product, 10) / 10 for _ in range(_ROUNDS))


def _flops_per_token(layers: int, length: int) -> float:
    """Of the layers: matrix products, and causal attention over half of `length` on average."""
    hidden, heads, kv_heads, head_dim, inner = 1024, 16, 8, 128, 3072
    weights = hidden * head_dim * (2 * heads + 2 * kv_heads) + 3 * hidden * inner
    return layers * (2 * weights + 2 * heads * head_dim * length)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.gpu_forward")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--layers", type=int, default=_FULL_LAYERS)
    parser.add_argument("--entries", type=int, default=_ENTRIES, help="of the embedding table")
    parser.add_argument("--lengths", type=int, nargs="+", default=_LENGTHS)
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each cell and way")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
