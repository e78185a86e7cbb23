"""The heart of the tests: our vectors against independent implementations, text by text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qwire_server.checkpoint import source
from qwire_server.load import LoadedModel
from support import local
from support.models import QUERY_PROMPT, tiny_qwen3
from support.reference import cosines, sentence_transformers, transformers_last_token
from support.texts import HARD, LONG

pytestmark = pytest.mark.timeout(60)

CLOSE = 0.99999
TEXTS = HARD + LONG
SHAPES = {
    "grouped heads": {"heads": 4, "kv_heads": 2},
    "one kv head": {"heads": 8, "kv_heads": 1, "seed": 1},
    "as many kv heads, deep": {"heads": 2, "kv_heads": 2, "layers": 6, "head_dim": 32, "seed": 2},
    "wide heads, untied, model. prefix": {
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 64,
        "with_head": True,
    },
    "hidden narrower than the heads": {"hidden": 48, "heads": 4, "kv_heads": 4, "head_dim": 24},
}


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen3(tmp_path_factory.mktemp("shaped") / "model", **SHAPES[request.param])


def test_every_text_equals_transformers_run_one_at_a_time(shaped: Path):
    ours = local.embed(local.load(shaped), TEXTS)
    theirs = transformers_last_token(shaped, TEXTS, max_tokens=512)
    assert cosines(ours, theirs).min() >= CLOSE


@pytest.mark.parametrize("prompt", ["", QUERY_PROMPT, "Instruct: Find similar text\nQuery:"])
def test_every_text_equals_sentence_transformers(qwen_folder: Path, qwen: LoadedModel, prompt: str):
    ours = local.embed(qwen, TEXTS, prompt=prompt)
    assert cosines(ours, sentence_transformers(qwen_folder, TEXTS, prompt=prompt)).min() >= CLOSE


@pytest.mark.parametrize("dimensions", [32, 33, 63, 64])
def test_cut_vectors_equal_sentence_transformers(
    qwen_folder: Path, qwen: LoadedModel, dimensions: int
):
    ours = local.embed(qwen, HARD, dimensions=dimensions)
    theirs = sentence_transformers(qwen_folder, HARD, dimensions=dimensions)
    assert ours.shape == (len(HARD), dimensions)
    assert cosines(ours, theirs).min() >= CLOSE


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65, 510, 511, 512, 513, 700])
def test_every_length_up_to_and_beyond_the_maximum(
    qwen_folder: Path, qwen: LoadedModel, length: int
):
    text = " ".join(["中"] * length)
    ours = local.embed(qwen, [text])
    theirs = transformers_last_token(qwen_folder, [text], max_tokens=512)
    assert cosines(ours, theirs).min() >= CLOSE


def test_the_demo_model_equals_sentence_transformers(demo: LoadedModel):
    ours = local.embed(demo, TEXTS)
    theirs = sentence_transformers(source.find("demo").folder, TEXTS)
    assert cosines(ours, theirs).min() >= CLOSE


@pytest.mark.parametrize("model", ["qwen", "demo"])
def test_batch_company_and_order_do_not_matter(model: str, request: pytest.FixtureRequest):
    """The same text gives the same vector, to 1e-5, alone, in any batch, at any place."""
    loaded = request.getfixturevalue(model)
    alone = np.concatenate([local.embed(loaded, [text]) for text in TEXTS])
    generator = np.random.default_rng(0)
    for _ in range(8):
        chosen = generator.choice(len(TEXTS), size=generator.integers(2, 40))
        together = local.embed(loaded, [TEXTS[i] for i in chosen])
        np.testing.assert_allclose(together, alone[chosen], atol=1e-5)


def test_packed_texts_do_not_see_each_other(qwen: LoadedModel):
    """The danger of packing.

    With the plain attention of transformers, the second text of a pack attends to the first.
    """
    text = "the same text in other company"
    vectors = [
        local.embed(qwen, [company, text])[1] for company in ("short", "long " * 100, "中文")
    ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    np.testing.assert_allclose(vectors[2], vectors[0], atol=1e-6)


def test_bfloat16_stays_close_to_float32(qwen_folder: Path, qwen: LoadedModel):
    half = local.load(qwen_folder, dtype="bfloat16")
    assert cosines(local.embed(half, HARD), local.embed(qwen, HARD)).min() >= 0.999
    assert half.served.fingerprint != qwen.served.fingerprint


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "close"), [("bfloat16", 0.999), ("float32", CLOSE)])
def test_on_a_gpu_every_text_equals_the_cpu(qwen_folder: Path, qwen: LoadedModel, dtype, close):
    there = local.load(qwen_folder, device="cuda", dtype=dtype)
    assert cosines(local.embed(there, TEXTS), local.embed(qwen, TEXTS)).min() >= close


@pytest.mark.parametrize("pooling", ["last", "mean", "cls"])
def test_each_pooling_equals_sentence_transformers(tmp_path: Path, pooling: str):
    folder = tiny_qwen3(tmp_path / "model")
    names = {"last": "lasttoken", "mean": "mean", "cls": "cls"}
    (folder / "1_Pooling" / "config.json").write_text(
        f'{{"embedding_dimension": 64, "pooling_mode": "{names[pooling]}", "include_prompt": true}}'
    )
    ours = local.embed(local.load(folder), TEXTS)
    assert cosines(ours, sentence_transformers(folder, TEXTS)).min() >= CLOSE
