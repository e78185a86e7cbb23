"""Texts to token ids, truncated by our own code; what was cut is counted.

The `tokenizers.Tokenizer` inside is shared by threads and never reconfigured after load.
"""

from __future__ import annotations

import json
from enum import IntEnum
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer as RustTokenizer

from qwire_server.errors import InvalidRequest, ModelError, TextTooLong
from qwire_server.text.encoded import Encoded
from qwire_server.text.spelling import join, spell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from qwire_server.text.spelling import Spelled

_PROBE = "a"  # any text with at least one token; shows the special tokens around it
# Texts of each kind, behind a prompt: its last token is its own where none of them joins it.
_KINDS = ("", "a", "The", "1", "中", " a", "\n", ".", "'s")
_PROMPTS_KNOWN = 64
_MOST_PROMPT_CHARS = 65536  # of a prompt that is remembered, 16 MB for all of them together


class Truncate(IntEnum):
    """What is cut from a text with too many tokens; the values are those of `qwire.v1.Truncate`."""

    END = 1
    START = 2
    NONE = 3


class Tokenizer:
    """Encodes batches of texts.

    Args:
        rust: without padding or truncation.
        max_tokens: most tokens of a text, prompt and special tokens included.
        unknown_id: the id that stands for what the vocabulary lacks, if there is one.
        lower_case: texts are lower-cased first, as sentence_bert_config.json may ask.
    """

    def __init__(
        self,
        rust: RustTokenizer,
        max_tokens: int,
        *,
        unknown_id: int | None = None,
        lower_case: bool = False,
    ) -> None:
        self.max_tokens = max_tokens
        self._rust = rust
        self._unknown_id = unknown_id
        self._lower_case = lower_case
        self._before, self._after = _special_tokens(rust)
        self._shared = lru_cache(_PROMPTS_KNOWN)(self._find_shared)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        vocab_size: int,
        max_tokens: int,
        lower_case: bool = False,
        config: dict[str, Any] | None = None,
    ) -> Tokenizer:
        """Make it of `config`, see `ReferenceTokenizer`, or of tokenizer.json alone.

        Added tokens beyond the model's embedding table are taken out, so that their text, such as
        `<think>`, is encoded as ordinary characters. (Qwen3-Embedding 4B and 8B have 151,665 rows,
        their tokenizer 151,669 entries.)

        Raises:
            ModelError: it is missing or broken, or its own vocabulary exceeds the table.
        """
        path = folder / "tokenizer.json"
        try:
            config = config or json.loads(path.read_text("utf-8"))
            _drop_added_tokens(config, vocab_size)
            rust = RustTokenizer.from_str(json.dumps(config))
        except FileNotFoundError:
            raise ModelError(f"{folder} has no tokenizer.json") from None
        except Exception as error:  # the Rust library raises plain Exception
            raise ModelError(f"{path} cannot be read: {error}") from error
        rust.no_padding()
        rust.no_truncation()
        largest = max(rust.get_vocab(with_added_tokens=True).values(), default=0)
        if largest >= vocab_size:
            raise ModelError(
                f"{path}: token id {largest} lies beyond the model's {vocab_size} embeddings"
            )
        unknown = config["model"].get("unk_token")
        unknown_id = rust.token_to_id(unknown) if unknown else None
        return cls(rust, max_tokens, unknown_id=unknown_id, lower_case=lower_case)

    def pack(self) -> dict[str, Any]:
        """All of it as plain data, for another process."""
        return {
            "rust": self._rust.to_str(),
            "max_tokens": self.max_tokens,
            "unknown_id": self._unknown_id,
            "lower_case": self._lower_case,
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Tokenizer:
        """The tokenizer that was packed."""
        return cls(
            RustTokenizer.from_str(packed["rust"]),
            packed["max_tokens"],
            unknown_id=packed["unknown_id"],
            lower_case=packed["lower_case"],
        )

    def encode(
        self, texts: Sequence[str], prompt: str = "", truncate: Truncate = Truncate.END
    ) -> Encoded:
        """Encode texts, each with `prompt` before it.

        Instruction and special tokens are never cut. One call into Rust, which releases the lock.

        Raises:
            InvalidRequest: the prompt alone leaves no room for a text.
        """
        full = [self._lower(prompt + text) for text in texts]
        encoded = Encoded(shared=self.shared(prompt))
        for i, encoding in enumerate(self._rust.encode_batch_fast(full)):
            ids = np.array(encoding.ids, dtype=np.int32)
            encoded.cut.append(max(len(ids) - self.max_tokens, 0))
            if encoded.cut[-1]:
                ids = self._fit(
                    i, ids, full[i], prompt_chars=len(prompt), truncate=truncate, encoded=encoded
                )
            if not len(ids) and i not in encoded.errors:
                encoded.errors[i] = InvalidRequest("this text has no tokens", index=i)
            encoded.ids.append(ids)
            encoded.unknown.append(self._count_unknown(ids))
        return encoded

    def count(self, texts: Sequence[str], prompt: str = "") -> tuple[list[int], list[int]]:
        """Tokens of each text, untruncated, and how many of them are unknown."""
        full = [self._lower(prompt + text) for text in texts]
        ids = [np.array(e.ids, dtype=np.int32) for e in self._rust.encode_batch_fast(full)]
        return [len(i) for i in ids], [self._count_unknown(i) for i in ids]

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts as they are, untruncated, special ones included."""
        return [encoding.ids for encoding in self._rust.encode_batch(list(texts))]

    def spell(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[Spelled]:
        """Tokens of each text, prompt included; special ones around it only if asked for."""
        return spell(self._rust, [self._lower(prompt + text) for text in texts], special=special)

    def join(self, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        """Texts of token ids; one that the tokenizer has no entry for is an InvalidRequest."""
        return join(self._rust, ids, skip_special=skip_special)

    def shared(self, prompt: str) -> int:
        """How many leading tokens texts with this prompt share, as a rule: to be checked by id.

        A token that may reach from the prompt into the text does not count.
        """
        return self._shared(prompt) if 0 < len(prompt) <= _MOST_PROMPT_CHARS else 0

    def _find_shared(self, prompt: str) -> int:
        full = [self._lower(prompt + kind) for kind in _KINDS]
        columns = zip(*(e.ids for e in self._rust.encode_batch_fast(full)), strict=False)
        return sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, columns))

    def _lower(self, text: str) -> str:
        return text.lower() if self._lower_case else text

    def _fit(
        self,
        index: int,
        ids: NDArray[np.int32],
        text: str,
        *,
        prompt_chars: int,
        truncate: Truncate,
        encoded: Encoded,
    ) -> NDArray[np.int32]:
        """Cut one over-long text, or record its error."""
        if truncate is Truncate.NONE:
            encoded.cut[index] = 0
            error = TextTooLong(
                f"a text has {len(ids)} tokens, the model takes {self.max_tokens}: "
                "shorten it, or set truncate to end or start",
                index=index,
            )
            error.tokens, error.max_tokens = len(ids), self.max_tokens
            encoded.errors[index] = error
            return ids[:0]
        head = self._before + self._prompt_tokens(text, prompt_chars)
        kept = self.max_tokens - self._after
        if head > kept:
            raise InvalidRequest(
                f"the instruction takes {head} tokens, the model {self.max_tokens} in all"
            )
        tail = ids[len(ids) - self._after :]
        if truncate is Truncate.END:
            return np.concatenate([ids[:kept], tail])
        return np.concatenate([ids[:head], ids[len(ids) - self._after - (kept - head) :]])

    def _prompt_tokens(self, text: str, prompt_chars: int) -> int:
        """How many tokens begin inside the prompt; one that straddles its end counts."""
        if not prompt_chars:
            return 0
        # The slow form, with offsets: only for over-long texts.
        offsets = self._rust.encode(text, add_special_tokens=False).offsets
        return sum(1 for start, _ in offsets if start < prompt_chars)

    def _count_unknown(self, ids: NDArray[np.int32]) -> int:
        return 0 if self._unknown_id is None else int((ids == self._unknown_id).sum())


def _special_tokens(rust: RustTokenizer) -> tuple[int, int]:
    """Tokens that the tokenizer puts before and after a text."""
    plain = rust.encode(_PROBE, add_special_tokens=False).ids
    full = rust.encode(_PROBE).ids
    for before in range(len(full) - len(plain) + 1):
        if full[before : before + len(plain)] == plain:
            return before, len(full) - len(plain) - before
    raise ModelError("tokenizer.json changes a text when it adds special tokens: not served")


def _drop_added_tokens(config: dict[str, Any], vocab_size: int) -> None:
    config["added_tokens"] = [t for t in config.get("added_tokens", []) if t["id"] < vocab_size]
