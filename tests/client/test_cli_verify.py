"""`qwire verify` against servers that are right, and servers that are wrong in known ways."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from qwire.cli import main, references
from qwire.cli.references import DOCUMENTS, QUERIES, REFERENCES, TOLERANCE, Reference
from qwire_server.checkpoint import source
from support import local
from support.models import QUERY_PROMPT, tiny_qwen3
from support.reference import sentence_transformers
from support.serving import serving

DEMO = REFERENCES["all-MiniLM-L6-v2"]


def verify(target, *args):
    return main(["verify", "--target", target, *args])


async def verify_served(folder, **settings):
    """Of a server in this process."""
    loaded = local.load(folder, **settings)
    async with serving(lambda _: loaded) as running:
        return await asyncio.to_thread(verify, f"127.0.0.1:{running.server.port}")


def scores(folder, prompt=""):
    queries = sentence_transformers(folder, QUERIES, prompt=prompt)
    return (queries @ sentence_transformers(folder, DOCUMENTS).T).tolist()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A small Qwen3 whose scores are known from sentence-transformers, prompt included."""
    folder = tiny_qwen3(tmp_path / "tiny-qwen3")
    known = Reference(64, scores(folder, QUERY_PROMPT), "sentence-transformers")
    monkeypatch.setitem(references.REFERENCES, "tiny-qwen3", known)
    return folder


def test_the_demo_models_reference_is_what_sentence_transformers_gives():
    """The numbers in the file, made anew by an independent implementation."""
    folder = source.find("demo").folder
    np.testing.assert_allclose(scores(folder), DEMO.scores, atol=1e-5)


def test_the_demo_server_equals_its_reference(demo_server, capsys):
    assert verify(demo_server) == 0
    out = capsys.readouterr().out
    assert out.startswith("sentence-transformers/all-MiniLM-L6-v2 (")
    assert "  0.8655   0.8655  0.0000  'What is the capital of China?' with 'The cap" in out
    assert out.endswith("equal: the largest deviation is 0.0000, the tolerance 0.005\n")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pooling", ["cls", "last"])
async def test_a_wrong_pooling_differs(capsys, pooling):
    assert await verify_served("demo", pooling=pooling) == 1
    assert "\ndifferent: the largest deviation is 0." in capsys.readouterr().out


@pytest.mark.timeout(60)
async def test_half_the_precision_is_equal(capsys):
    """bfloat16 is within the tolerance, and not the same to the last digit."""
    assert await verify_served("demo", dtype="bfloat16") == 0
    assert "deviation is 0.0000" not in capsys.readouterr().out


@pytest.mark.timeout(60)
async def test_a_qwen_with_its_prompt_is_equal_and_without_it_differs(tiny, capsys):
    assert await verify_served(tiny) == 0
    settings = tiny / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"prompts": {"query": "", "document": ""}}))
    assert await verify_served(tiny) == 1
    assert "\ndifferent: " in capsys.readouterr().out


def test_a_model_without_reference_is_not_compared(server, capsys):
    assert verify(server.target) == 2
    err = capsys.readouterr().err
    assert err.startswith("qwire verify: no scores are known of fake/model")
    assert "--reference" in err


def test_another_number_of_dimensions_differs(server, capsys):
    assert verify(server.target, "--reference", "Qwen3-Embedding-0.6B") == 1
    assert "vectors of 16 values, Qwen3-Embedding-0.6B has 1024" in capsys.readouterr().out


def test_a_server_that_does_not_answer_is_not_compared(capsys):
    assert verify("localhost:1") == 2
    assert capsys.readouterr().err.startswith("qwire verify: nothing answers at localhost:1")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3-Embedding-0.6B"),
        ("qwen3-embedding-8b", "Qwen3-Embedding-8B"),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("Qwen/Qwen3-Embedding-0.6B-GGUF", None),
        ("Qwen3-Reranker-0.6B", None),
    ],
)
def test_a_model_is_known_by_the_last_part_of_its_name(model, name):
    assert references.reference_name(model) == name


def test_vllms_published_scores_of_the_same_model_are_equal_and_other_sizes_are_not():
    """The tolerance tells a model from a stack. Both are on the card of the 0.6B."""
    vllm = [
        [0.7620252966880798, 0.14078938961029053],
        [0.1358368694782257, 0.6013815999031067],
    ]
    small, *others = [np.array(each.scores) for each in REFERENCES.values()]
    assert np.abs(small - vllm).max() < TOLERANCE
    assert all(np.abs(small - other).max() > 10 * TOLERANCE for other in others)
