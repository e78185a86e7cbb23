"""A query and its documents to token ids; only a document is ever cut.

Marks of the prompt, such as `<|im_end|>` or `[SEP]`, are put in as ids. Query, instruction and
document are encoded by a copy of the tokenizer that knows no such tokens, so that whatever they
spell is ordinary text: a document cannot end its turn.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer as RustTokenizer

from qwire_server.errors import InvalidRequest, ModelError, TextTooLong
from qwire_server.text.encoded import Encoded
from qwire_server.text.pairs import QWEN_PREFIX, QWEN_SUFFIX
from qwire_server.text.spelling import join, spell
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from qwire_server.text.spelling import Spelled

# Beginnings of documents that a tokenizer might merge with what stands before them.
_PROBES = ("a", "A b", " a", "1", "\n", "\n\na", "中", ".", ":", "'s", "\u0301")


@dataclass(frozen=True, slots=True)
class Frame:
    """Token ids around query and document, and the characters between them."""

    before: list[int] = field(default_factory=list)
    middle: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    gap: str = ""


class PairTokenizer:
    """Encodes documents, each with the same query before it; an `Encoder`.

    Args:
        words: without added tokens, padding or truncation.
        marks: the same with added tokens.
        frame: what is put around the two parts.
        max_tokens: most tokens of both parts and the frame together.
        unknown_id: the id that stands for what the vocabulary lacks, if there is one.
    """

    def __init__(
        self,
        words: RustTokenizer,
        marks: RustTokenizer,
        frame: Frame,
        max_tokens: int,
        unknown_id: int | None = None,
    ) -> None:
        self.max_tokens = max_tokens
        self.frame = frame
        self._words = words
        self._marks = marks
        self._unknown_id = unknown_id

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        vocab_size: int,
        max_tokens: int,
        takes_instruction: bool,
        config: dict[str, Any] | None = None,
    ) -> PairTokenizer:
        """Make it of `config`, see `ReferenceTokenizer`, or of tokenizer.json alone.

        Raises:
            ModelError: it is missing or broken, or does not fit the model or its prompt.
        """
        path = folder / "tokenizer.json"
        try:
            config = config or json.loads(path.read_text("utf-8"))
            marks = _plain(json.dumps(config))
            words = _plain(json.dumps({**config, "added_tokens": []}))
        except FileNotFoundError:
            raise ModelError(f"{folder} has no tokenizer.json") from None
        except Exception as error:  # the Rust library raises plain Exception
            raise ModelError(f"{path} cannot be read: {error}") from error
        frame = _qwen_frame(marks, words) if takes_instruction else _pair_frame(marks)
        largest = max([*words.get_vocab().values(), *frame.before, *frame.middle, *frame.after])
        if largest >= vocab_size:
            raise ModelError(
                f"{path}: token id {largest} lies beyond the model's {vocab_size} embeddings"
            )
        unknown = config["model"].get("unk_token")
        unknown_id = words.token_to_id(unknown) if unknown else None
        return cls(words, marks, frame, max_tokens, unknown_id)

    def pack(self) -> dict[str, Any]:
        """All of it as plain data, for another process."""
        return {
            "words": self._words.to_str(),
            "marks": self._marks.to_str(),
            "frame": asdict(self.frame),
            "max_tokens": self.max_tokens,
            "unknown_id": self._unknown_id,
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> PairTokenizer:
        """The tokenizer that was packed."""
        return cls(
            RustTokenizer.from_str(packed["words"]),
            RustTokenizer.from_str(packed["marks"]),
            Frame(**packed["frame"]),
            packed["max_tokens"],
            packed["unknown_id"],
        )

    def encode(
        self, texts: Sequence[str], prompt: str = "", truncate: Truncate = Truncate.END
    ) -> Encoded:
        """Encode documents, each with `prompt`, which holds the query, before it.

        Raises:
            InvalidRequest: the query leaves no room for a document.
        """
        head = self._head(prompt)
        after = np.array(self.frame.after, dtype=np.int32)
        room = self.max_tokens - len(head) - len(after)
        if room < 1:
            raise InvalidRequest(
                f"the query and its prompt take {len(head) + len(after)} tokens, the reranker "
                f"{self.max_tokens} in all: shorten the query"
            )
        encoded = Encoded(shared=len(head))
        for i, ids in enumerate(self._documents(texts)):
            cut = max(len(ids) - room, 0)
            if cut and truncate is Truncate.NONE:
                encoded.errors[i] = self._too_long(i, len(head) + len(ids) + len(after))
                cut, whole = 0, ids[:0]
            else:
                kept = ids[cut:] if truncate is Truncate.START else ids[: len(ids) - cut]
                whole = np.concatenate([head, kept, after])
            encoded.ids.append(whole)
            encoded.cut.append(cut)
            encoded.unknown.append(self._count_unknown(whole))
        return encoded

    def count(self, texts: Sequence[str], prompt: str = "") -> tuple[list[int], list[int]]:
        """Tokens of each pair, untruncated, and how many of them are unknown."""
        head = self._head(prompt)
        around, unknown = len(head) + len(self.frame.after), self._count_unknown(head)
        documents = self._documents(texts)
        tokens = [around + len(ids) for ids in documents]
        return tokens, [unknown + self._count_unknown(ids) for ids in documents]

    def _head(self, prompt: str) -> NDArray[np.int32]:
        """Everything before a document: the same for all documents of a query."""
        ids = self._words.encode(prompt, add_special_tokens=False).ids
        return np.array([*self.frame.before, *ids, *self.frame.middle], dtype=np.int32)

    def _documents(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        full = [self.frame.gap + text for text in texts]
        encodings = self._words.encode_batch_fast(full, add_special_tokens=False)
        return [np.array(e.ids, dtype=np.int32) for e in encodings]

    def _too_long(self, index: int, tokens: int) -> TextTooLong:
        error = TextTooLong(
            f"a document has {tokens} tokens with its query and prompt, the reranker takes "
            f"{self.max_tokens}: shorten it, or set truncate to end or start",
            index=index,
        )
        error.tokens, error.max_tokens = tokens, self.max_tokens
        return error

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of single texts as they are, untruncated, special ones included."""
        return [encoding.ids for encoding in self._marks.encode_batch(list(texts))]

    def yes_no_ids(self) -> tuple[int, int]:
        """Ids of the two answers of Qwen3-Reranker.

        Raises:
            ModelError: the tokenizer does not have them as single tokens.
        """
        yes, no = (self._marks.encode(w, add_special_tokens=False).ids for w in ("yes", "no"))
        if len(yes) != 1 or len(no) != 1:
            raise ModelError("yes and no are no single tokens here: this is no Qwen3-Reranker")
        return yes[0], no[0]

    def spell(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[Spelled]:
        """Tokens of single texts, as the whole tokenizer sees them."""
        return spell(self._marks, [prompt + text for text in texts], special=special)

    def join(self, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        """Texts of token ids; one that the tokenizer has no entry for is an InvalidRequest."""
        return join(self._marks, ids, skip_special=skip_special)

    def _count_unknown(self, ids: NDArray[np.int32]) -> int:
        return 0 if self._unknown_id is None else int((ids == self._unknown_id).sum())


def _plain(config: str) -> RustTokenizer:
    rust = RustTokenizer.from_str(config)
    rust.no_padding()
    rust.no_truncation()
    return rust


def _qwen_frame(marks: RustTokenizer, words: RustTokenizer) -> Frame:
    """The frame of Qwen3-Reranker; the space after "<Document>:" goes with the document."""
    if len(marks.encode("a").ids) != len(marks.encode("a", add_special_tokens=False).ids):
        raise ModelError(
            "tokenizer.json puts a special token after each text, as an embedding model's does and "
            "no Qwen3-Reranker's: serve an embedding model with --model"
        )
    prefix, suffix = (
        marks.encode(t, add_special_tokens=False).ids for t in (QWEN_PREFIX, QWEN_SUFFIX)
    )
    if prefix == words.encode(QWEN_PREFIX, add_special_tokens=False).ids:
        raise ModelError("tokenizer.json has no <|im_start|>: this is no Qwen3-Reranker")
    for probe in _PROBES:
        texts = (f"b: {probe}", "b:", f" {probe}")
        whole, head, tail = (words.encode(t, add_special_tokens=False).ids for t in texts)
        if whole != head + tail:
            raise ModelError(
                "tokenizer.json merges the end of the prompt with the document: not served"
            )
    return Frame(before=prefix, after=suffix, gap=" ")


def _pair_frame(marks: RustTokenizer) -> Frame:
    """The special tokens that the tokenizer puts around a pair of texts."""
    encoding = marks.encode("a", "b")
    ids, owners = encoding.ids, encoding.sequence_ids
    first = [i for i, owner in enumerate(owners) if owner == 0]
    second = [i for i, owner in enumerate(owners) if owner == 1]
    if not first or not second or first[-1] > second[0]:
        raise ModelError("tokenizer.json does not join a query and a document: not served")
    return Frame(
        before=ids[: first[0]],
        middle=ids[first[-1] + 1 : second[0]],
        after=ids[second[-1] + 1 :],
    )
