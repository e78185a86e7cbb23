"""Texts of known lengths, the same in every run. Random words: lengths are real, sense is not.

Each word is one token of `benchmarks.tokenizer`, and of most English vocabularies.
"""

from __future__ import annotations

import numpy as np

from benchmarks.sizes import SEED

MEDIAN_WORDS = 40  # about a paragraph; the mean is a third more, as the distribution is skewed
SIGMA = 0.8
LEAST_WORDS, MOST_WORDS = 3, 240  # the demo model takes 256 tokens: nothing is cut
DISTRIBUTION = {
    "words": f"log-normal, median {MEDIAN_WORDS}, sigma {SIGMA}, "
    f"clipped to {LEAST_WORDS} to {MOST_WORDS}",
    "seed": SEED,
}
QUERY = "how do I get my money back after the flight was cancelled"
_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from "
    "or had an they which one you were all her she there would their we him been has when who "
    "will no more if out so up said what its about than into them can only other time new some "
    "could these two may first then do any like my now over such our man me even most made after "
    "also did many off before must well back through years where much your way down should because "
    "long each just state those people too mister how little good world make very year still work "
    "see own here get day never life being both under three know same last while might us great "
    "old came go since against right take used himself few house use place during high without "
    "again home around small however found part school once thought general went say every war "
    "left water city number price order refund ticket flight payment account service server "
    "customer contract energy climate history science model memory network computer language "
    "question answer document paragraph sentence library company government president market "
    "product quality research hospital medicine patient doctor university student teacher music "
    "picture station airport railway journey holiday weather summer winter morning evening "
    "kitchen garden mountain river island ocean forest animal chemical engine battery signal "
    "password message letter newspaper magazine election parliament committee agreement insurance"
)
WORDS = _WORDS.split()


def log_normal(count: int) -> list[str]:
    """Texts in the order in which they would arrive; a smaller count is a prefix of a larger."""
    rng = np.random.default_rng(SEED)
    drawn = np.exp(rng.normal(np.log(MEDIAN_WORDS), SIGMA, count))
    lengths = np.clip(drawn.astype(int), LEAST_WORDS, MOST_WORDS)
    words = np.random.default_rng([SEED, 1])
    return [_sentence(words, int(length)) for length in lengths]


def of_words(count: int, words: int) -> list[str]:
    """Texts of so many words each."""
    rng = np.random.default_rng([SEED, 3])
    return [_sentence(rng, words) for _ in range(count)]


def of_sixteen_tokens(count: int) -> list[str]:
    """Fifteen words, and the token that ends each text."""
    rng = np.random.default_rng([SEED, 2])
    return [_sentence(rng, 15) for _ in range(count)]


def short_queries(count: int) -> list[str]:
    """Four to seventeen words."""
    rng = np.random.default_rng([SEED, 3])
    return [_sentence(rng, int(rng.integers(4, 18))) for _ in range(count)]


def _sentence(rng: np.random.Generator, length: int) -> str:
    # Frequent words are more frequent, as in any language.
    weights = 1 / np.arange(10, 10 + len(WORDS))
    return " ".join(rng.choice(WORDS, length, p=weights / weights.sum()))
