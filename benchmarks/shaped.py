"""Models with the true shape of Qwen3-Embedding and random weights, perhaps cut to a few layers.

Their speed is that of as many true layers. Their vectors mean nothing. Weights are drawn from
normal(0, 0.02), never zeros, on which a GPU is faster than on anything real.
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

from benchmarks.shapes import QWEN3
from benchmarks.sizes import SEED
from benchmarks.tokenizer import END, QUERY_PROMPT, train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

    from benchmarks.shapes import Shape

_MOST_TOKENS = 32768


def qwen3_shaped(
    folder: Path,
    layers: int,
    shape: Shape = QWEN3["0.6B"],
    *,
    table: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write the model in the layout that `qwire serve` and sentence-transformers read.

    Args:
        folder: for its files; made if need be.
        layers: of them.
        shape: of everything else.
        table: give the embedding table its true rows, of which texts use few: they take memory and
            time to load, none in a forward. Otherwise it is as long as the tokenizer needs.
        device: that draws the weights; a GPU takes seconds where a CPU takes a minute.
        dtype: of the file.
    """
    tokenizer = train()
    rows = shape.vocabulary if table else tokenizer.get_vocab_size()
    cut = replace(shape, layers=layers, vocabulary=rows)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    weights = {
        name: _drawn(size, device, dtype)
        for name, size in _parameters(cut)  # one after the other: the order decides the draw
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_layout(folder, cut, tokenizer, dtype)
    return folder


def kept(size: str, layers: int | None = None, device: str = "cpu") -> Path:
    """The model of a size in bf16, under the temporary folder; drawn when first asked for.

    Args:
        size: "0.6B", "4B" or "8B".
        layers: None for all of them.
        device: that draws the weights.
    """
    shape = QWEN3[size]
    count = layers or shape.layers
    folder = Path(tempfile.gettempdir()) / f"qwire-bench-qwen3-{size}-{count}-layers-bf16-{SEED}"
    if not folder.exists():
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            qwen3_shaped(partial, count, shape, table=True, device=device, dtype=torch.bfloat16)
            partial.rename(folder)  # whole, or not at all
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return folder


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


def _drawn(size: tuple[int, ...], device: str, dtype: torch.dtype) -> torch.Tensor:
    """Random, but for the norms, which keep their ones."""
    tensor = torch.empty(size, dtype=dtype, device=device)
    return (tensor.fill_(1) if len(size) == 1 else tensor.normal_(0, 0.02)).cpu()


def _write_layout(folder: Path, shape: Shape, tokenizer: Tokenizer, dtype: torch.dtype) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {"config.json": _config(shape, dtype), **_layout(shape.hidden)}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _config(shape: Shape, dtype: torch.dtype) -> dict[str, Any]:
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
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def _layout(hidden: int) -> dict[str, Any]:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": QUERY_PROMPT, "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": END,
            "model_max_length": _MOST_TOKENS,
        },
    }
