"""Models with the true shape of Qwen3-Embedding-0.6B and Qwen3-Reranker-0.6B, weights random.

Cut to a few layers: their speed is that of as many true ones. What they say means nothing; the
embedding table is small.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from benchmarks.sizes import SEED
from benchmarks.tokenizer import END, QUERY_PROMPT, train
from qwire_server.text.pairs import QWEN_PREFIX, QWEN_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

_MARK = re.compile(r"<.*?>")
_MARKS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
_HIDDEN = 1024
_MAX_TOKENS = 32768
_SHAPE: dict[str, Any] = {
    "hidden_size": _HIDDEN,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "max_position_embeddings": _MAX_TOKENS,
    "rope_theta": 1_000_000,
    "tie_word_embeddings": True,
}


def qwen3_shaped(folder: Path, layers: int) -> Path:
    """Write the model in the layout that `qwire serve` and sentence-transformers read."""
    tokenizer = train()
    model = random_model(layers, tokenizer.get_vocab_size())
    _save(model, tokenizer, folder, layout())
    return folder


def qwen3_reranker_shaped(folder: Path, layers: int) -> Path:
    """Write a reranker that `qwire serve --reranker` and sentence-transformers read."""
    words = " ".join(_MARK.split(QWEN_PREFIX + QWEN_SUFFIX))
    tokenizer = train(words, "yes", "no", marks=_MARKS, ends_texts=False)
    files = {"tokenizer_config.json": layout()["tokenizer_config.json"]}
    model = random_model(layers, tokenizer.get_vocab_size(), kind=Qwen3ForCausalLM)
    _save(model, tokenizer, folder, files)
    return folder


def random_model(layers: int, entries: int, kind: Any = Qwen3Model, **options: Any) -> Any:
    """The model alone, on the CPU in fp32: `entries` in its table, weights drawn from N(0, 0.02).

    Args:
        layers: 28 are Qwen3-Embedding-0.6B.
        entries: 151669 are.
        kind: transformers' class.
        options: of `Qwen3Config`.
    """
    config = Qwen3Config(vocab_size=entries, num_hidden_layers=layers, **_SHAPE, **options)
    torch.manual_seed(SEED)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # the norms keep their ones
                parameter.normal_(0, 0.02)
    return model


def _save(model: Any, tokenizer: Tokenizer, folder: Path, files: dict[str, Any]) -> None:
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def layout(hidden: int = _HIDDEN) -> dict[str, Any]:
    """The files beside the weights, in the layout of sentence-transformers."""
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
            "model_max_length": _MAX_TOKENS,
        },
    }
