"""The tokenizer that is served is the one that transformers makes of the folder, or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers

from qwire_server.errors import ModelError
from qwire_server.load_reranker import load_reranker
from qwire_server.settings import Settings
from support import local
from support.models import tiny_qwen3
from support.rerankers import tiny_reranker

TEXTS = ["x", "hello World", " a <foo> b", "<|im_start|>user"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With rows for tokens that only some file adds."""
    return tiny_qwen3(tmp_path / "model", vocab_size=600)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def added(config: dict[str, Any]) -> None:
    options = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    config["added_tokens_decoder"] = {"507": {"content": "<foo>", "special": True, **options}}


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda _: None,
    "added_tokens_decoder": added,
    "add_prefix_space": lambda c: c.update(add_prefix_space=True),
    "Qwen2Tokenizer": lambda c: c.update(tokenizer_class="Qwen2Tokenizer"),
    "Qwen2Tokenizer and a space": lambda c: c.update(
        tokenizer_class="Qwen2Tokenizer", add_prefix_space=True
    ),
    "do_lower_case": lambda c: c.update(do_lower_case=True),
    "extra_special_tokens": lambda c: c.update(additional_special_tokens=["<foo>"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_tokenizer_config_says_is_followed_as_by_sentence_transformers(
    folder: Path, name: str
):
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  slow to import

    edit(folder / "tokenizer_config.json", CHANGES[name])
    ours = local.embed(local.load(folder), TEXTS)
    reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    theirs = reference.encode(TEXTS, prompt="", normalize_embeddings=True, batch_size=1)
    assert (ours * np.asarray(theirs)).sum(axis=1).min() >= 0.999999


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truncation_side": "left"}, "truncation_side is 'left', which is not served"),
        ({"split_special_tokens": True}, r"of the text '.*<\|im_start\|>.* this server"),
        ({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}, "auto_map names code"),
        ({"tokenizer_class": 3}, "cannot be loaded"),
        ({"model_max_length": "x"}, "model_max_length is 'x'"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_sentence(
    folder: Path, change: dict[str, object], said: str
):
    edit(folder / "tokenizer_config.json", lambda c: c.update(change))
    with pytest.raises(ModelError, match=said) as error:
        local.load(folder)
    assert "\n" not in str(error.value)


def test_a_rerankers_tokenizer_is_held_to_the_same(tmp_path: Path):
    folder = tiny_reranker(tmp_path / "model")
    edit(folder / "tokenizer_config.json", lambda c: c.update(truncation_side="left"))
    settings = Settings(model="none", reranker=str(folder), device="cpu", dtype="float32")
    with pytest.raises(ModelError, match="truncation_side"):
        load_reranker(settings)


def test_a_tokenizer_that_fails_on_unknown_words_is_told_with_the_text(folder: Path):
    """Its vocabulary has no entry for the token that it would use for them."""
    vocabulary = {"hello": 0, "a": 1}
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.save(str(folder / "tokenizer.json"))
    edit(folder / "tokenizer_config.json", lambda c: (c.pop("eos_token"), c.pop("pad_token")))
    with pytest.raises(ModelError, match=r"fails on the text '.*': WordPiece error") as error:
        local.load(folder)
    assert "\n" not in str(error.value)


NAMES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("name", [*NAMES, "tokenizer.json"])
@pytest.mark.parametrize("content", [DEEP, '{"a":' * 900 + "1" + "}" * 900, "[]", "3", "{", ""])
def test_a_file_of_the_tokenizer_that_is_broken_is_a_sentence(
    folder: Path, name: str, content: str
):
    (folder / name).write_text(content)
    with pytest.raises(ModelError, match=name) as error:
        local.load(folder)
    assert "\n" not in str(error.value)


def test_each_file_of_the_tokenizer_changes_the_fingerprint(folder: Path, tmp_path: Path):
    plain = local.load(folder).served.fingerprint
    contents: dict[str, object] = {
        "added_tokens.json": {"<foo>": 507},
        "special_tokens_map.json": {"pad_token": "<|im_end|>"},
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": True},
    }
    seen = {plain}
    for name, content in contents.items():
        other = shutil.copytree(folder, tmp_path / name)
        (other / name).write_text(json.dumps(content))
        seen.add(local.load(other).served.fingerprint)
    assert len(seen) == 1 + len(contents)
