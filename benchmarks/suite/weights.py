"""Models with the true shape of Qwen3-Embedding in bf16, drawn on the device and kept on the disk.

Their speed is that of the true ones, their vectors mean nothing. Weights are drawn from
normal(0, 0.02), never zeros, on which a GPU is faster than on anything real. The embedding table
has its true rows, of which texts use few: they take memory and time to load, none in a forward.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from benchmarks.shaped import layout
from benchmarks.shapes import QWEN3
from benchmarks.sizes import SEED
from benchmarks.tokenizer import train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.shapes import Shape


def kept(size: str, layers: int | None = None, device: str = "cpu") -> Path:
    """The folder of a model, under the temporary folder; made when first asked for.

    Args:
        size: "0.6B", "4B" or "8B".
        layers: None for all of them.
        device: that draws the weights: a GPU takes seconds where a CPU takes a minute.
    """
    shape = replace(QWEN3[size], layers=layers or QWEN3[size].layers)
    name = f"qwire-bench-qwen3-{size}-{shape.layers}-layers-bf16-{SEED}"
    folder = Path(tempfile.gettempdir()) / name
    if not folder.exists():
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _write(partial, shape, device)
            partial.rename(folder)  # whole, or not at all
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return folder


def _write(folder: Path, shape: Shape, device: str) -> None:
    torch.manual_seed(SEED)
    weights = {name: _drawn(size, device) for name, size in _parameters(shape)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    train().save(str(folder / "tokenizer.json"))
    for name, content in {"config.json": _config(shape), **layout(shape.hidden)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _parameters(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes as in Qwen3-Embedding's own files."""
    hidden, of_heads, of_pairs = (
        shape.hidden,
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
    )
    yield "embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        of_layer: dict[str, tuple[int, ...]] = {
            "input_layernorm": (hidden,),
            "self_attn.q_proj": (of_heads, hidden),
            "self_attn.k_proj": (of_pairs, hidden),
            "self_attn.v_proj": (of_pairs, hidden),
            "self_attn.o_proj": (hidden, of_heads),
            "self_attn.q_norm": (shape.head_dim,),
            "self_attn.k_norm": (shape.head_dim,),
            "post_attention_layernorm": (hidden,),
            "mlp.gate_proj": (shape.intermediate, hidden),
            "mlp.up_proj": (shape.intermediate, hidden),
            "mlp.down_proj": (hidden, shape.intermediate),
        }
        for name, size in of_layer.items():
            yield f"layers.{layer}.{name}.weight", size
    yield "norm.weight", (hidden,)


def _drawn(size: tuple[int, ...], device: str) -> torch.Tensor:
    """Random, but for the norms, which keep their ones."""
    tensor = torch.empty(size, dtype=torch.bfloat16, device=device)
    return (tensor.fill_(1) if len(size) == 1 else tensor.normal_(0, 0.02)).cpu()


def _config(shape: Shape) -> dict[str, Any]:
    """As old and new transformers read it: `rope_theta` beside the rest."""
    return {
        "architectures": ["Qwen3Model"],
        "model_type": "qwen3",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate,
        "hidden_act": "silu",
        "max_position_embeddings": shape.positions,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "vocab_size": shape.vocabulary,
        "torch_dtype": "bfloat16",
    }
