"""The tokenizer that transformers makes of a model folder, which ours has to agree with.

transformers reads more than tokenizer.json: `add_prefix_space`, `do_lower_case`, tokens that only
tokenizer_config.json lists. So our tokenizer is made of what transformers made, and then both are
compared on texts of many kinds. Used once, at start.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qwire_server.checkpoint.json_files import read_object, shown
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_READ = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# Several scripts, spaces, cases and signs, each of which some normaliser or splitter treats apart.
_TEXTS = (
    *("a", "x", "Hello World PARIS", "hello world", " two  spaces ", "\ttab\nline\r\n\r\nend"),
    *("don't, can't! (really?) #1 $2.50 50%", "1234567890 3.14 1e-5", "snake_case camelCase"),
    *("Größe naïve ÉCOLE ﬁne ½ Ⅷ", "e\u0301 \u00e9 A\u030a", "ΑΒΓ привет Ёлка", "İstanbul ıŞ"),
    *("中国的首都是北京。", "日本語の文章 カタカナ ｶﾅ", "한국어 문장", "العَرَبِيَّة", "हिन्दी", "ไทย"),
    *(
        "🙂🚀 👩\u200d👩\u200d👧",
        "☃\u200b\ufeff\u00ad\u00a0end",
        "\u0000\u0007",
        "https://a.b/c?d=e&f",
    ),
    *("def f(x):\n    return x  # ok", "<s> </s> [CLS] [SEP] [MASK] [UNK] [PAD] <unk> <pad>"),
    "<|im_start|>user\nhi<|im_end|> <|endoftext|> <think>\n\n</think>",
)
_MOST_ADDED = 64  # of the added tokens; those of Qwen3 are 26


class ReferenceTokenizer:
    """One that transformers loaded; see `load`.

    Attributes:
        config: content of a tokenizer.json that makes the same tokenizer.
    """

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:  # it is written in Python, so it has to be compared with the file
            self.config = read_object(folder / "tokenizer.json")
        else:
            self.config = json.loads(backend.to_str())
        added = list(tokenizer.get_added_vocab())[:_MOST_ADDED]
        texts = (*_TEXTS, *added, *(f"a {token} b{token}C" for token in added))
        self._expected = [(text, self._ids(text)) for text in texts]

    @classmethod
    def load(cls, folder: Path) -> ReferenceTokenizer:
        """Load it from a folder; no code of the model's repository runs.

        Raises:
            ModelError: it cannot be loaded, fails, or asks for what is not served.
        """
        if not (folder / "tokenizer.json").exists():
            raise ModelError(f"{folder} has no tokenizer.json")
        config, *_ = [read_object(folder / name, missing={}) for name in _READ]
        if config.get("auto_map"):
            raise ModelError(
                f"{folder / _READ[0]}: auto_map names code of the model's repository, which is "
                "never run: the tokenizer would be another one"
            )
        tokenizer = _load(folder)
        if tokenizer.truncation_side != "right":
            raise ModelError(
                f"{folder / _READ[0]}: truncation_side is {shown(tokenizer.truncation_side)}, "
                "which is not served: texts that are too long lose their end here, unless a "
                'request says truncate="start". To serve the model so, take truncation_side out'
            )
        return cls(folder, tokenizer)

    def compare(self, ids: Callable[[Sequence[str]], list[list[int]]], vocab_size: int) -> None:
        """See that a tokenizer gives the same ids, special ones included.

        Args:
            ids: function from texts to their token ids, by that tokenizer.
            vocab_size: rows of the embedding table. Texts with larger token ids are left out,
                because no model can embed them.

        Raises:
            ModelError: it does not; the message has the first text.
        """
        expected = [(t, want) for t, want in self._expected if max(want, default=0) < vocab_size]
        found = ids([text for text, _ in expected])
        for (text, want), got in zip(expected, found, strict=True):
            if got != want:
                raise ModelError(
                    f"the tokenizer in {self._folder} is not served: of the text {shown(text)} "
                    f"transformers makes the token ids {shown(want)}, and this server {shown(got)}"
                )

    def _ids(self, text: str) -> list[int]:
        try:
            return list(self._tokenizer(text)["input_ids"])
        except Exception as error:  # the Rust library raises plain Exception
            raise ModelError(
                f"the tokenizer in {self._folder} fails on the text {shown(text)}: "
                f"{_first_line(error)}"
            ) from error


def _load(folder: Path) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415  takes seconds to import
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()  # its advice is for those who train
    try:
        return AutoTokenizer.from_pretrained(  # nosec B615  # a folder of this machine
            str(folder), use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # transformers and tokenizers raise many kinds
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded from tokenizer.json and the files beside "
            f"it: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
