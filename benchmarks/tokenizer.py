"""A tokenizer with Qwen3's pipeline and a vocabulary of our own words, trained on the spot.

The real one is not downloaded. This one splits as the real one does, which is most of the time that
tokenising takes; its table of merges is small, so texts of rare words would take longer.
"""

from __future__ import annotations

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

from benchmarks.texts import WORDS

QUERY_PROMPT = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)
END = "<|endoftext|>"
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_MOST_ENTRIES = 4096  # more than the words need: each becomes one token, with a space and without


def train(*more: str, marks: tuple[str, ...] = (), ends_texts: bool = True) -> Tokenizer:
    """Byte-level BPE behind the Qwen3 pattern.

    Args:
        more: texts whose words are to be tokens too.
        marks: special tokens besides `<|endoftext|>`.
        ends_texts: put `<|endoftext|>` after each text, as the embedding models' does.
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
        vocab_size=_MOST_ENTRIES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [*WORDS, *(f" {word}" for word in WORDS)]
    tokenizer.train_from_iterator([*words, QUERY_PROMPT, *more], trainer)
    tokenizer.add_special_tokens([END, *marks])
    if not ends_texts:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        return tokenizer
    end = [(END, tokenizer.token_to_id(END))]
    template = processors.TemplateProcessing(single=f"$A {END}", special_tokens=end)
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template]
    )
    return tokenizer
