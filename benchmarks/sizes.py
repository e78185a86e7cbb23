"""How much is measured: enough for a figure in under five minutes, or just enough for a test."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 20261
CHUNK_TEXTS = 64  # texts a message, a request and a call of the tokenizer
CLIENTS = 64  # that ask for single texts at the same time


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of texts, calls and rounds; times in seconds.

    Attributes:
        layers: of the Qwen3-0.6B shape.
        batch_sizes: of which the best is sentence-transformers' own.
        model_seconds, front_seconds: after which a part begins no further round, once it has
            three; a slow or busy machine gets fewer rounds, not fewer texts.
        codec_repeats: most times that vectors are encoded and decoded in a round.
        warm_texts: passed through a stream before its memory is first read.
    """

    layers: int
    demo_texts: int
    shaped_texts: int
    batch_sizes: tuple[int, ...]
    queries: int
    rounds: int
    model_seconds: float
    front_seconds: float
    chunked_texts: int
    single_calls: int
    streamed_texts: int
    warm_texts: int
    codec_repeats: int


FULL = Sizes(
    layers=2,
    demo_texts=192,
    shaped_texts=96,
    batch_sizes=(4, 8, 16, 32),
    queries=60,
    rounds=7,
    model_seconds=55,
    front_seconds=35,
    chunked_texts=20_000,
    single_calls=1_500,
    streamed_texts=200_000,
    warm_texts=20_000,
    codec_repeats=50,
)
QUICK = Sizes(
    layers=1,
    demo_texts=8,
    shaped_texts=8,
    batch_sizes=(8,),
    queries=2,
    rounds=1,
    model_seconds=5,
    front_seconds=5,
    chunked_texts=256,
    single_calls=16,
    streamed_texts=1_024,
    warm_texts=256,
    codec_repeats=1,
)
