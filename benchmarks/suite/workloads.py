"""The texts of each workload, the same in every run and in every process. Knows no server.

Each word is one token, of `benchmarks.tokenizer` and of BERT. A generator, a peer and the bare
forward make their own copy from the same few values, so that no texts travel between them. Hardly a
text occurs twice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.sizes import SEED
from benchmarks.texts import WORDS

_WORDS = [word for word in WORDS if word != "refund"]  # two tokens in BERT's vocabulary
_SIGMA = 0.8  # of log-normal lengths: the mean is a third above the median


@dataclass(frozen=True, slots=True)
class Workload:
    """Some kind of texts.

    Attributes:
        name: of it, which also decides the draw.
        tokens: of each text, or their median.
        least, most: tokens, where lengths vary log-normally; 0 where all are equal.
        queries: they go behind the model's query prompt.
        around: tokens that the model puts around a text; those above count them.
        prompt: tokens of the prompt; those above do not.
    """

    name: str
    tokens: int
    least: int = 0
    most: int = 0
    queries: bool = False
    around: int = 1
    prompt: int = 0

    def lengths(self, count: int) -> list[int]:
        """Tokens of each of so many texts; a smaller count is a prefix of a larger."""
        if not self.most:
            return [self.tokens] * count
        rng = np.random.default_rng([SEED, *self.name.encode()])
        drawn = np.exp(rng.normal(np.log(self.tokens), _SIGMA, count))
        lengths: list[int] = np.clip(drawn.astype(int), self.least, self.most).tolist()
        return lengths

    def texts(self, count: int) -> list[str]:
        """So many of them, of these lengths."""
        words = [length - self.around for length in self.lengths(count)]
        # Frequent words are more frequent, as in any language.
        weights = 1 / np.arange(10, 10 + len(_WORDS))
        rng = np.random.default_rng([SEED, 1, *self.name.encode()])
        drawn = rng.choice(len(_WORDS), sum(words), p=weights / weights.sum()).tolist()
        ends = np.cumsum(words).tolist()
        return [
            " ".join([_WORDS[i] for i in drawn[end - length : end]])
            for end, length in zip(ends, words, strict=True)
        ]

    def tokens_of(self, count: int) -> int:
        """Tokens of so many texts, prompts included."""
        return sum(self.lengths(count)) + self.prompt * count

    def chunk_texts(self, most_texts: int, most_tokens: int) -> int:
        """Texts a message: fewer where they are long, at least one."""
        return max(1, min(most_texts, most_tokens // self.tokens))

    def as_json(self) -> dict[str, Any]:
        """For another process; `Workload(**values)` is the way back."""
        return asdict(self)


def uniform(tokens: int) -> Workload:
    """Texts of exactly so many tokens."""
    return Workload(f"uniform-{tokens}", tokens)


LOG_NORMAL = Workload("log-normal", 40, 4, 241)  # about a paragraph; the demo model takes 256
INSTRUCTED = Workload("instructed", 8, 4, 17, queries=True)  # short questions behind their prompt
BULK = Workload("bulk", 150, 8, 512)  # what a re-index of a knowledge base streams
