"""Scores against independent implementations, document by document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from qwire_server.api.reranker import scores_of
from qwire_server.engine.rows import encode, finish
from qwire_server.engine.work import Encoding, RowForm
from qwire_server.load_reranker import LoadedReranker, load_reranker
from qwire_server.model.opaque import OpaqueForward
from qwire_server.model.packing import pack
from qwire_server.settings import Settings
from qwire_server.text.tokenizer import Truncate
from support.rank_reference import cross_encoder_scores, recipe_scores
from support.rerankers import (
    INSTRUCTION,
    PREFIX,
    SUFFIX,
    tiny_bert_reranker,
    tiny_reranker,
    tiny_xlmr_reranker,
)
from support.texts import HARD, LONG

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

QUERY = "What is the capital of China? 首都?"
# What the recipe reads as tokens of the prompt, and we do not.
ORDINARY = [t for t in HARD if "<|" not in t and "<think>" not in t]
PLAIN = ["the capital of china is beijing.", "gravity is a force", "a", "", "the " * 30]


def load(folder: Path, **settings: object) -> LoadedReranker:
    """Load on the CPU, in fp32 unless told otherwise."""
    return load_reranker(
        Settings(**{"reranker": str(folder), "device": "cpu", "dtype": "float32", **settings})
    )


def score(
    ranker: LoadedReranker,
    query: str,
    documents: list[str],
    *,
    instruction: str | None = None,
    raw: bool = False,
    truncate: Truncate = Truncate.END,
) -> list[float]:
    """One packed forward of all documents."""
    prompt = ranker.prompt.before_document(query, instruction)
    encoded = ranker.loaded.tokenizer.encode(documents, prompt, truncate)
    rows = finish(ranker.loaded.runner.run(encoded.ids), RowForm(1, normalize=False))
    log_odds = np.frombuffer(encode(rows, Encoding.FLOAT32).data, "<f4").tolist()
    return log_odds if raw else scores_of(log_odds)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reranker(tmp_path_factory.mktemp("reranker") / "tiny-reranker")


@pytest.fixture(scope="module")
def ranker(folder: Path) -> LoadedReranker:
    return load(folder)


@pytest.mark.parametrize(
    ("instruction", "documents"),
    [
        (None, ORDINARY + LONG[2:]),
        ("Find the code, {braces} and all", ORDINARY[3:6]),
        ("", ORDINARY[3:6]),
    ],
)
def test_every_document_equals_the_recipe_to_1e_5(folder, ranker, instruction, documents):
    told = INSTRUCTION if instruction is None else instruction
    theirs, ids = recipe_scores(folder, QUERY, documents, told)
    prompt = ranker.prompt.before_document(QUERY, instruction)
    ours = ranker.loaded.tokenizer.encode(documents, prompt)
    assert [i.tolist() for i in ours.ids] == ids
    found = score(ranker, QUERY, documents, instruction=instruction)
    np.testing.assert_allclose(found, theirs, atol=1e-5)
    assert np.ptp(theirs) > 0.01  # the model tells documents apart


def test_a_reranker_with_an_lm_head_of_its_own_equals_the_recipe(tmp_path: Path):
    """As Qwen3-Reranker-8B, whose output embedding is not its input embedding."""
    folder = tiny_reranker(tmp_path / "untied", tied=False, seed=3)
    theirs, _ = recipe_scores(folder, QUERY, ORDINARY[3:8])
    np.testing.assert_allclose(score(load(folder), QUERY, ORDINARY[3:8]), theirs, atol=1e-5)


def test_every_document_equals_sentence_transformers_with_the_prompt_written_out(folder, ranker):
    head = f"{PREFIX}<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>:"
    theirs = cross_encoder_scores(folder, [(head, f" {d}{SUFFIX}") for d in ORDINARY])
    np.testing.assert_allclose(score(ranker, QUERY, ORDINARY, raw=True), theirs, atol=1e-5)


@pytest.mark.parametrize("build", [tiny_reranker, tiny_bert_reranker, tiny_xlmr_reranker])
def test_what_is_compiled_on_a_gpu_scores_as_the_model(tmp_path: Path, build):
    """Segments and shifted positions too, which transformers' hooks put in."""
    ranker = load(build(tmp_path / "model"))
    prompt = ranker.prompt.before_document("gravity", None)
    packed = pack(ranker.loaded.tokenizer.encode(PLAIN, prompt).ids, torch.device("cpu"))
    plain = ranker.loaded.runner._plain
    twin = OpaqueForward(plain._model, plain._head)
    torch.testing.assert_close(twin(packed), plain(packed), atol=1e-5, rtol=0)


def test_raw_scores_are_the_log_odds(ranker: LoadedReranker):
    raw = np.array(score(ranker, QUERY, ORDINARY, raw=True))
    np.testing.assert_allclose(score(ranker, QUERY, ORDINARY), 1 / (1 + np.exp(-raw)), rtol=1e-12)


def test_a_converted_reranker_equals_the_cross_encoder_with_the_prompt_written_out(tmp_path: Path):
    folder = tiny_reranker(tmp_path / "converted", classifier=True)
    head = f"{PREFIX}<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>:"
    theirs = cross_encoder_scores(folder, [(head, f" {d}{SUFFIX}") for d in ORDINARY])
    np.testing.assert_allclose(score(load(folder), QUERY, ORDINARY, raw=True), theirs, atol=1e-5)


@pytest.mark.parametrize("build", [tiny_bert_reranker, tiny_xlmr_reranker])
def test_a_classic_cross_encoder_equals_sentence_transformers(tmp_path: Path, build):
    folder = build(tmp_path / "cross")
    documents = [*PLAIN, *ORDINARY]
    theirs = cross_encoder_scores(folder, [("the capital of what?", d) for d in documents])
    ranker = load(folder)
    ours = score(ranker, "the capital of what?", documents, raw=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    alone = [score(ranker, "the capital of what?", [d], raw=True)[0] for d in PLAIN]
    np.testing.assert_allclose(alone, theirs[: len(PLAIN)], atol=1e-5)
    assert np.ptp(theirs) > 0.01


def test_company_and_order_do_not_matter(ranker: LoadedReranker):
    together = score(ranker, QUERY, ORDINARY[::-1], raw=True)[::-1]
    alone = [score(ranker, QUERY, [d], raw=True)[0] for d in ORDINARY]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bfloat16_stays_close(folder: Path, ranker: LoadedReranker):
    half = load(folder, dtype="bfloat16")
    np.testing.assert_allclose(
        score(half, QUERY, ORDINARY), score(ranker, QUERY, ORDINARY), atol=0.1
    )
    assert half.loaded.served.fingerprint != ranker.loaded.served.fingerprint


def test_a_classifier_with_two_labels_is_refused(tmp_path: Path):
    folder = tiny_bert_reranker(tmp_path / "two")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Exception, match="2 labels; a reranker has one"):
        load(folder)
