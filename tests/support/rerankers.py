"""Small random rerankers of the true architectures. Made anew by the tests; nothing is downloaded.

The prompt is that of Qwen3-Reranker's model card, written out once more, so that a wrong byte of
ours shows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from support.models import qwen_tokenizer, spread

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
MAX_TOKENS = 512


def tiny_reranker(
    folder: Path, *, seed: int = 0, tied: bool = True, classifier: bool = False
) -> Path:
    """Write a random Qwen3-Reranker.

    Args:
        folder: to write into; made if need be.
        seed: of the weights.
        tied: no lm_head of its own, as 0.6B and 4B; else as 8B.
        classifier: as its conversions to one label.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = qwen_tokenizer("yes no", PREFIX, ends_texts=False)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=192,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=tied,
        rope_theta=1_000_000,
        num_labels=1,
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )
    torch.manual_seed(seed)
    kind = Qwen3ForSequenceClassification if classifier else Qwen3ForCausalLM
    _save(kind(config), tokenizer, folder, "<|endoftext|>")
    return folder


def tiny_bert_reranker(folder: Path) -> Path:
    """Write a random cross-encoder of BERT's architecture, as the ms-marco ones."""
    words = [
        *"abcdefghijklmnopqrstuvwxyz0123456789.,?!",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "capital", "the", "of", "[", "]", *words]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocab)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(vocab[:5])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        num_labels=1,
    )
    torch.manual_seed(0)
    _save(BertForSequenceClassification(config), tokenizer, folder, "[PAD]", 128)
    return folder


def tiny_xlmr_reranker(folder: Path) -> Path:
    """Write a random cross-encoder of XLM-RoBERTa's architecture, as the bge ones."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", "\u2581the", "\u2581capital"]
    pieces += list("abcdefghijklmnopqrstuvwxyz0123456789.,?!<>/")
    tokenizer = Tokenizer(
        models.Unigram([(p, 0.0 if i < 4 else -float(i)) for i, p in enumerate(pieces)], unk_id=3)
    )
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(pieces[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    config = XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=130,
        type_vocab_size=1,
        num_labels=1,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    _save(XLMRobertaForSequenceClassification(config), tokenizer, folder, "<pad>", 128)
    return folder


def _save(
    model: Any, tokenizer: Tokenizer, folder: Path, pad: str, max_tokens: int = MAX_TOKENS
) -> None:
    spread(model)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "model_max_length": max_tokens,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
