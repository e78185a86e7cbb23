"""Small random models of the true architectures, in the layout that sentence-transformers reads.

Made anew by the tests; nothing is downloaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

QUERY_PROMPT = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)
# The pre-tokenizer's pattern and the added tokens are those of the Qwen3 tokenizer.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_ADDED = ["<tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
_CORPUS = [
    "The capital of China is Beijing. Gravity is a force that attracts two bodies.",
    "中国的首都是北京。引力是使物体相互吸引的力。退款需要几天？",
    "def main(argv: list[str]) -> int:\n    return sum(map(int, argv))\n",
    QUERY_PROMPT + "how do I restart a Kubernetes pod that was OOMKilled? 🙂🚀",
]
BASE_VOCAB = 600


def qwen_tokenizer(*more: str, ends_texts: bool = True) -> Tokenizer:
    """A byte-level BPE tokenizer with the pipeline of Qwen3-Embedding and a small vocabulary.

    Args:
        more: texts that it is trained on besides, so that their words are tokens.
        ends_texts: with `<|endoftext|>`, as Qwen3-Embedding's does and Qwen3-Reranker's does not.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_VOCAB,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_CORPUS, *more] * 4, trainer)
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.add_tokens(_ADDED)
    if not ends_texts:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        return tokenizer
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
            ),
        ]
    )
    return tokenizer


def tiny_qwen3(
    folder: Path,
    *,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 16,
    max_tokens: int = 512,
    vocab_size: int | None = None,
    with_head: bool = False,
) -> Path:
    """Write a random Qwen3 embedding model that `qwire serve --model FOLDER` serves.

    Args:
        folder: to write into; made if need be.
        vocab_size: rows of the embedding table; all of the tokenizer's entries by default.
        with_head: save the causal model: keys with the `model.` prefix, and its own lm_head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        vocab_size=vocab_size or tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=hidden * 3,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=not with_head,
        rope_theta=1_000_000,
    )
    torch.manual_seed(seed)
    model: Any = (Qwen3ForCausalLM if with_head else Qwen3Model)(config)
    spread(model)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_layout(folder, hidden, max_tokens)
    return folder


def spread(model: torch.nn.Module) -> None:
    """Make the random weights large: with the default 0.02 all texts would be nearly alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)


def _write_layout(folder: Path, hidden: int, max_tokens: int) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{kind}"}
            for i, (p, kind) in enumerate(kinds)
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
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": max_tokens,
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2))
