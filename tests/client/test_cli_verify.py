"""`qwire verify`: which reference, which verdict, which words. More in tests/model."""

from __future__ import annotations

import numpy as np
import pytest

from qwire.cli import main
from qwire.cli.references import REFERENCES, TOLERANCE, reference_name


def verify(target, *args):
    return main(["verify", "--target", target, *args])


def test_the_demo_server_equals_its_reference(demo_server, capsys):
    assert verify(demo_server) == 0
    out = capsys.readouterr().out
    assert out.startswith("sentence-transformers/all-MiniLM-L6-v2 (")
    assert "  0.8655   0.8655  0.0000  'What is the capital of China?' with 'The cap" in out
    assert out.endswith("equal: the largest deviation is 0.0000, the tolerance 0.005\n")


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
    assert reference_name(model) == name


def test_vllms_published_scores_of_the_same_model_are_equal_and_other_sizes_are_not():
    """The tolerance tells a model from a stack. Both are on the card of the 0.6B."""
    vllm = [
        [0.7620252966880798, 0.14078938961029053],
        [0.1358368694782257, 0.6013815999031067],
    ]
    small, *others = [np.array(each.scores) for each in REFERENCES.values()]
    assert np.abs(small - vllm).max() < TOLERANCE
    assert all(np.abs(small - other).max() > 10 * TOLERANCE for other in others)
