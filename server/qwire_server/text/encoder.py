"""What the fronts need of a tokenizer, of whichever kind of model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.text.encoded import Encoded
    from qwire_server.text.spelling import Spelled


class Encoder(Protocol):
    """What turns the texts of a request into token ids; all of them share a prompt."""

    def encode(
        self, texts: Sequence[str], prompt: str = "", truncate: Truncate = Truncate.END
    ) -> Encoded:
        """Ids of each text, `prompt` before it."""

    def count(self, texts: Sequence[str], prompt: str = "") -> tuple[list[int], list[int]]:
        """Tokens of each text, untruncated, and how many of them are unknown."""

    def spell(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[Spelled]:
        """Tokens of each text, prompt included; special ones around it only if asked for."""

    def join(self, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        """Texts of token ids."""
