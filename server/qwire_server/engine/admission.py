"""How much work may wait: one bound, in tokens, on everything accepted and not yet answered.

Pure bookkeeping for one thread, the front's. A text counts from the moment it is received: by an
estimate from its bytes until it is tokenised, by its true tokens after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.errors import Overloaded, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_BYTES_PER_TOKEN = 2.0  # cautious: English has 4 to 5, Chinese about 4, code about 3
_RATIO_MEMORY = 0.8
_MIN_WAIT_SECONDS = 0.05
_MAX_WAIT_SECONDS = 30.0
_STREAM_SHARE = 0.75  # streams wait above it, so that they cannot have single requests refused


class Estimator:
    """Tokens of a text from its bytes, at a ratio learned from the texts before it."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN

    def tokens(self, text: str) -> int:
        """What the text is likely to have, at most what the model takes."""
        return min(int(len(text.encode()) / self._bytes_per_token) + 2, self._max_tokens)

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """These texts had so many tokens, before any were cut."""
        if tokens:
            ratio = sum(len(text.encode()) for text in texts) / tokens
            past = _RATIO_MEMORY * self._bytes_per_token
            self._bytes_per_token = max(past + (1 - _RATIO_MEMORY) * ratio, 1.0)


class Admission:
    """Tokens accepted and not yet answered, against their bound.

    Attributes:
        bound: most tokens that may be held.
        held: tokens held now.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.held = 0

    def __repr__(self) -> str:
        return f"<Admission {self.held}/{self.bound} tokens>"

    def has_room_for_stream(self, tokens: int) -> bool:
        """Whether a waiting stream may go on; a part of the bound is left to single requests."""
        return not self.held or self.held + tokens <= self.bound * _STREAM_SHARE

    def check_size(self, tokens: int) -> None:
        """Refuse what could never fit.

        Raises:
            RequestTooLarge: no wait would help.
        """
        if tokens > self.bound:
            raise RequestTooLarge(
                f"this request has about {tokens} tokens and the server queues at most "
                f"{self.bound}: send fewer texts at a time, or raise --queue-tokens"
            )

    def reserve(self, tokens: int, *, tokens_per_second: float) -> None:
        """Hold so many tokens, or refuse.

        Raises:
            RequestTooLarge: they could never fit.
            Overloaded: they do not fit now; `retry_after` is when they should, at that speed.
        """
        self.check_size(tokens)
        excess = self.held + tokens - self.bound
        if excess > 0:
            wait = excess / tokens_per_second if tokens_per_second else 1.0
            raise Overloaded(
                f"the queue holds {self.held} of {self.bound} tokens and this request needs about "
                f"{tokens} more: try again later, or raise --queue-tokens",
                retry_after=min(max(wait, _MIN_WAIT_SECONDS), _MAX_WAIT_SECONDS),
            )
        self.held += tokens

    def hold(self, tokens: int) -> None:
        """Hold so many tokens whatever the bound; negative to give some back."""
        self.held += tokens
        assert self.held >= 0, "more tokens given back than were held: this is a bug"
