"""What a model's forward takes, read from its modules, is what its config.json says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.shapes import read_shape

from qwire_server.checkpoint import source
from qwire_server.load import LoadedModel
from qwire_server.model.arithmetic import measured_peak

LENGTHS = [5, 17, 64]


def test_of_a_qwen3(qwen: LoadedModel, qwen_folder: Path):
    assert qwen.arithmetic.flops(LENGTHS) == read_shape(qwen_folder).flops(LENGTHS)


def test_of_an_encoder_whose_tokens_see_all_others(demo: LoadedModel):
    folder = source.find("demo", None, "hub").folder
    assert demo.arithmetic.flops(LENGTHS) == read_shape(folder).flops(LENGTHS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_best_of_a_device_is_measured(dtype: torch.dtype):
    assert 1e8 < measured_peak(torch.device("cpu"), dtype) < 1e16


def test_a_model_that_is_served_knows_its_devices_best(demo: LoadedModel):
    assert demo.served.peak_flops > 1e8
