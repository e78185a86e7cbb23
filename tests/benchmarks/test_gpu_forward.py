"""The forward's benchmark, rehearsed on a CPU: that it runs and what it writes, never a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu_forward

pytestmark = [pytest.mark.torch, pytest.mark.slow]  # a layer of the true shape


@pytest.mark.timeout(120)
def test_each_cell_is_written_with_what_it_depends_on(tmp_path: Path):
    flags = "--device cpu --layers 1 --entries 100 --lengths 16 --batch-tokens 32 --seconds 0.1"
    gpu_forward.main([*flags.split(), "--no-compile"], tmp_path)
    (written,) = tmp_path.iterdir()
    result = json.loads(written.read_text())
    assert [(c["way"], c["length"], c["texts"]) for c in result["cells"]] == [
        ("eager", 16, 1),
        ("eager", 16, 2),
    ]
    assert all(cell["tokens_per_second"] > 0 and cell["mfu"] > 0 for cell in result["cells"])
    assert {"device", "dtype", "versions", "commit", "matrix_product_tflops"} <= set(result)


def test_the_operations_are_those_of_the_true_model():
    """0.88 G a token, and 0.115 M more for each token of the text."""
    assert gpu_forward._flops_per_token(28, 0) == pytest.approx(0.88e9, rel=0.01)
    per_length = gpu_forward._flops_per_token(28, 1) - gpu_forward._flops_per_token(28, 0)
    assert per_length == pytest.approx(0.115e6, rel=0.01)
