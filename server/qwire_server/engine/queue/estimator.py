"""Tokens of a text before it is tokenised: from its bytes, at a ratio that is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_BYTES_PER_TOKEN = 2.0  # cautious: English has 4 to 5, Chinese about 4, code about 3
_RATIO_MEMORY = 0.8


class Estimator:
    """Learns bytes per token from the texts before."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN
        self._has_learned = False

    def tokens(self, text: str) -> int:
        """What the text is likely to have, at most what the model takes."""
        return min(int(len(text.encode()) / self._bytes_per_token) + 2, self._max_tokens)

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """These texts had so many tokens, before any were cut."""
        if tokens:
            ratio = sum(len(text.encode()) for text in texts) / tokens
            memory = _RATIO_MEMORY if self._has_learned else 0.0
            learned = memory * self._bytes_per_token + (1 - memory) * ratio
            self._bytes_per_token = max(learned, 1.0)
            self._has_learned = True
