"""Works, outcomes and models are the same in another process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwire_server import settings as all_settings
from qwire_server.engine.work import Encoding, Failure, Outcome, RequestClass, RowForm, Rows, Work
from qwire_server.load import load_model
from qwire_server.load_reranker import load_reranker
from qwire_server.processes import carried
from qwire_server.text.tokenizer import Truncate
from support.models import tiny_qwen3
from support.rerankers import tiny_reranker

TEXTS = ["Rain", "中国的首都是北京。", "<|im_end|> and\n\nmore", "a" * 3000]


def crossed(facts):
    """As JSON has it at the other end."""
    return json.loads(json.dumps(facts))


ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9)


@given(
    texts=st.lists(ids, min_size=1, max_size=9),
    encoding=st.sampled_from(Encoding),
    request_class=st.sampled_from(RequestClass),
    deadline=st.sampled_from([float("inf"), 1234.5]),
    client=st.text(max_size=9),
)
def test_a_work_is_the_same_but_for_its_key(texts, encoding, request_class, deadline, client):
    work = Work(
        key=7,
        token_ids=[np.array(each, np.int32) for each in texts],
        costs=[len(each) * 1000 for each in texts],
        form=RowForm(64, normalize=False, encoding=encoding),
        model="m",
        request_class=request_class,
        deadline=deadline,
        client=client,
        request_id="r",
        prefix=3,
    )
    facts, body = carried.pack_work(work)
    found = carried.unpack_work(crossed(facts), body, 99)
    assert [each.tolist() for each in found.token_ids] == texts
    assert all(each.dtype == np.int32 for each in found.token_ids)
    for name in Work.__slots__:
        if name not in {"key", "token_ids"}:
            assert getattr(found, name) == getattr(work, name)
    assert (facts["key"], found.key) == (7, 99)


@pytest.mark.parametrize("scales", [b"", b"1234"])
def test_an_outcome_is_the_same_but_for_its_key(scales):
    outcome = Outcome(
        5, [2, 0], Rows(b"rows", 2, scales), [Failure(1, "NOT_FINITE", "why")], seconds=0.25
    )
    facts, body = carried.pack_outcome(outcome, 8)
    found = carried.unpack_outcome(crossed(facts), body)
    assert found == Outcome(8, *[getattr(outcome, n) for n in Outcome.__slots__ if n != "key"])


def load(folder: Path, *more: str):
    return all_settings.load(["--model", str(tiny_qwen3(folder / "m")), "--device", "cpu", *more])


@pytest.mark.torch
def test_a_model_gives_the_same_tokens_and_says_the_same_of_itself(tmp_path):
    loaded = load_model(load(tmp_path, "--max-tokens", "50"))
    model, reranker = carried.unpack_models(crossed(carried.pack_models(loaded, None)))
    assert reranker is None
    assert model is not None
    assert model.served == loaded.served
    assert model.cost == loaded.cost
    prompt = loaded.served.prompts.query
    for truncate in (Truncate.END, Truncate.START):
        ours = model.tokenizer.encode(TEXTS, prompt, truncate)
        theirs = loaded.tokenizer.encode(TEXTS, prompt, truncate)
        assert [a.tolist() for a in ours.ids] == [a.tolist() for a in theirs.ids]
        assert (ours.cut, ours.unknown, ours.shared) == (theirs.cut, theirs.unknown, theirs.shared)


@pytest.mark.torch
def test_a_reranker_too(tmp_path):
    ranker = load_reranker(load(tmp_path, "--reranker", str(tiny_reranker(tmp_path / "r"))))
    _, found = carried.unpack_models(crossed(carried.pack_models(None, ranker)))
    assert found is not None
    model, prompt = found
    assert (model.served, prompt) == (ranker.loaded.served, ranker.prompt)
    head = prompt.before_document("Which city?", None)
    ours, theirs = (each.encode(TEXTS, head) for each in (model.tokenizer, ranker.loaded.tokenizer))
    assert [a.tolist() for a in ours.ids] == [a.tolist() for a in theirs.ids]
