"""`qwire verify` against references made anew, and servers that are wrong in known ways."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from qwire.cli import main, references
from qwire.cli.references import DOCUMENTS, QUERIES, REFERENCES, Reference
from qwire_server.checkpoint import source
from support import local
from support.models import QUERY_PROMPT, tiny_qwen3
from support.reference import sentence_transformers
from support.serving import serving

pytestmark = pytest.mark.timeout(60)


async def verify(folder, **settings):
    """The verdict on a server in this process."""
    loaded = local.load(folder, **settings)
    async with serving(lambda _: loaded) as running:
        target = f"127.0.0.1:{running.server.port}"
        return await asyncio.to_thread(main, ["verify", "--target", target])


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
    np.testing.assert_allclose(scores(folder), REFERENCES["all-MiniLM-L6-v2"].scores, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "last"])
async def test_a_wrong_pooling_differs(capsys, pooling):
    assert await verify("demo", pooling=pooling) == 1
    assert "\ndifferent: the largest deviation is 0." in capsys.readouterr().out


async def test_half_the_precision_is_equal(capsys):
    """bfloat16 is within the tolerance, and not the same to the last digit."""
    assert await verify("demo", dtype="bfloat16") == 0
    assert "deviation is 0.0000" not in capsys.readouterr().out


async def test_a_qwen_with_its_prompt_is_equal_and_without_it_differs(tiny, capsys):
    assert await verify(tiny) == 0
    settings = tiny / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"prompts": {"query": "", "document": ""}}))
    assert await verify(tiny) == 1
    assert "\ndifferent: " in capsys.readouterr().out
