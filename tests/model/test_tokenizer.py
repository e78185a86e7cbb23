"""Ids, truncation and counts, against the tokenizer library itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from qwire_server.errors import InvalidRequest, ModelError, TextTooLong
from qwire_server.load import LoadedModel
from qwire_server.text.encoded import Encoded
from qwire_server.text.tokenizer import Tokenizer, Truncate
from support import local
from support.models import QUERY_PROMPT, qwen_tokenizer, tiny_qwen3
from support.reference import cosines, transformers_last_token
from support.texts import HARD, LONG

END = qwen_tokenizer().token_to_id("<|endoftext|>")


@pytest.fixture(scope="module")
def tokenizer(qwen_folder: Path) -> Tokenizer:
    return Tokenizer.load(qwen_folder, vocab_size=507, max_tokens=32)


def plain(text: str) -> list[int]:
    return qwen_tokenizer().encode(text, add_special_tokens=False).ids


def test_each_text_ends_with_exactly_one_appended_token(tokenizer: Tokenizer):
    encoded = tokenizer.encode(HARD)
    whole = [i for i, cut in enumerate(encoded.cut) if not cut]
    assert len(whole) > 15
    for i in whole:
        assert encoded.ids[i].tolist() == [*plain(HARD[i]), END]


def test_cutting_the_end_keeps_the_beginning_and_the_last_token(tokenizer: Tokenizer):
    for text in LONG:
        encoded = tokenizer.encode([text], "", Truncate.END)
        assert encoded.ids[0].tolist() == [*plain(text)[:31], END]
        assert encoded.cut == [len(plain(text)) - 31]


def test_cutting_the_start_keeps_the_instruction_and_the_end(tokenizer: Tokenizer):
    prompt, text = "Instruct: find\nQuery:", " ".join(map(str, range(100)))
    ids = plain(prompt + text)
    head = len(plain(prompt))
    encoded = tokenizer.encode([text], prompt, Truncate.START)
    assert encoded.ids[0].tolist() == [*ids[:head], *ids[-(31 - head) :], END]
    assert encoded.cut == [len(ids) - 31]


def test_a_token_that_straddles_prompt_and_text_belongs_to_the_prompt(qwen_folder: Path):
    """`Query:` and a text that begins with a colon may share a token; it is not cut away."""
    tokenizer = Tokenizer.load(qwen_folder, vocab_size=507, max_tokens=8)
    prompt, text = "abc def", "ghi " * 50
    encoded = tokenizer.encode([text], prompt, Truncate.START)
    whole = plain(prompt + text)
    offsets = qwen_tokenizer().encode(prompt + text, add_special_tokens=False).offsets
    head = [i for i, (start, _) in enumerate(offsets) if start < len(prompt)]
    kept = encoded.ids[0].tolist()
    assert kept[: min(len(head), 7)] == whole[: min(len(head), 7)]
    assert len(kept) == 8


def test_an_instruction_that_leaves_no_room_is_refused(tokenizer: Tokenizer):
    with pytest.raises(InvalidRequest, match="the instruction takes"):
        tokenizer.encode(["text"], "Instruct: " + "very long " * 50 + "\nQuery:")


def test_with_truncation_off_only_the_long_text_is_an_error(tokenizer: Tokenizer):
    encoded = tokenizer.encode(["short", "long " * 100, "short"], "", Truncate.NONE)
    assert set(encoded.errors) == {1}
    error = encoded.errors[1]
    assert isinstance(error, TextTooLong)
    assert str(len(plain("long " * 100)) + 1) in error.message
    assert "32" in error.message
    assert encoded.cut == [0, 0, 0]


def test_counts_are_of_the_whole_text(tokenizer: Tokenizer):
    tokens, unknown = tokenizer.count(["long " * 100], QUERY_PROMPT)
    assert tokens == [len(plain(QUERY_PROMPT + "long " * 100)) + 1]
    assert unknown == [0]


def test_unknown_tokens_are_counted(demo: LoadedModel):
    encoded = demo.tokenizer.encode(["plain English", "這是一個測試"])
    assert encoded.unknown[0] == 0
    assert encoded.unknown[1] > 0


def test_threads_share_one_tokenizer(tokenizer: Tokenizer):
    expected = [ids.tolist() for ids in tokenizer.encode(HARD).ids]
    failures: list[object] = []

    def work(truncate: Truncate) -> None:
        rounds = [tokenizer.encode(HARD, "", truncate).ids for _ in range(20)]
        failures.extend(ids for ids in rounds if [i.tolist() for i in ids] != expected)

    threads = [threading.Thread(target=work, args=[Truncate.END]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_added_tokens_beyond_the_embedding_table_become_ordinary_text(tmp_path: Path):
    """As on Qwen3-Embedding 4B and 8B, whose table lacks `<think>`.

    No crash, and the vector is that of a tokenizer that never had the token.
    """
    folder = tiny_qwen3(tmp_path / "model", vocab_size=505)  # all but the two last added tokens
    texts = ["<think>reasoning</think> answer", "<tool_call>call", "plain"]
    ours = local.embed(local.load(folder), texts)

    config = json.loads((folder / "tokenizer.json").read_text())
    config["added_tokens"] = [t for t in config["added_tokens"] if "think" not in t["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(config))
    theirs = transformers_last_token(folder, texts, max_tokens=512)
    assert cosines(ours, theirs).min() >= 0.99999


def test_a_vocabulary_beyond_the_table_is_refused(qwen_folder: Path):
    with pytest.raises(ModelError, match="lies beyond the model's 100 embeddings"):
        Tokenizer.load(qwen_folder, vocab_size=100, max_tokens=32)


def test_a_tokenizer_that_pads_and_truncates_by_itself_is_stopped_from_it(demo: LoadedModel):
    """The demo model's tokenizer.json asks for padding to 128 and truncation at 128."""
    encoded = demo.tokenizer.encode(["a", "word " * 200])
    assert encoded.tokens == [3, 202]
    assert np.count_nonzero(encoded.ids[0]) == 3


@pytest.mark.parametrize("prompt", [QUERY_PROMPT, "Instruct: 找出相关段落\nQuery:", "one", "a b "])
def test_what_texts_with_one_prompt_share_is_at_most_the_prompt(tokenizer: Tokenizer, prompt: str):
    """It is found without a text, and true of almost any."""
    shared = tokenizer.shared(prompt)
    begins = plain(prompt)[:shared]
    assert 0 < shared <= len(plain(prompt))
    encoded = tokenizer.encode([*HARD, "what", "'s", "\u0301"], prompt)
    assert encoded.shared == shared
    alike = sum(ids[:shared].tolist() == begins for ids in encoded.ids)
    assert alike >= len(encoded.ids) - 2, "a token that joins the prompt's last is rare"


def test_a_token_that_reaches_into_the_text_is_not_shared(tokenizer: Tokenizer):
    """A colon is the prompt's last token, and part of another one before some texts."""
    prompt, joined = plain(QUERY_PROMPT), plain(QUERY_PROMPT + "how")
    assert joined[: len(prompt)] != prompt
    assert tokenizer.shared(QUERY_PROMPT) == len(prompt) - 1


def test_without_a_prompt_nothing_is_shared(tokenizer: Tokenizer):
    assert tokenizer.encode(["a", "b"]).shared == 0


def test_slices_of_one_request_share_what_all_share():
    whole = Encoded()
    for shared in (5, 5):
        whole.extend(Encoded([np.zeros(9, np.int32)], [0], [0], shared=shared))
    assert whole.shared == 5
