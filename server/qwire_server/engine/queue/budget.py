"""How many tokens a batch may have: halved when memory ran out, then slowly raised again."""

from __future__ import annotations

_RECOVERY = 1 / 64  # of the most, for each full batch that fits: about a minute under load
_FULL = 0.9  # a batch of less says little about the limit


class Budget:
    """Tokens of one batch.

    Args:
        most: never exceeded.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tokens = float(most)

    def __repr__(self) -> str:
        return f"<Budget {self.tokens} of {self._most} tokens>"

    @property
    def tokens(self) -> int:
        """For the next batch; at least 1, and a text that needs more goes alone."""
        return max(1, int(self._tokens))

    def exceeded(self, tokens: int) -> None:
        """A batch of so many tokens did not fit the device's memory."""
        self._tokens = max(1.0, min(self._tokens, tokens) / 2)

    def fitted(self, tokens: int) -> None:
        """A batch of so many tokens did."""
        if self._tokens < self._most and tokens >= _FULL * self._tokens:
            self._tokens = min(float(self._most), self._tokens + _RECOVERY * self._most)
