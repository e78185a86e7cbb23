"""What is decided between the settings and the first request."""

from __future__ import annotations

import pytest
import torch

from qwire_server.engine.queue.cost import CostModel
from qwire_server.prepare import limits_of, worth_launching
from qwire_server.settings import load


@pytest.mark.parametrize(
    ("flags", "forward_ms", "launch_ms"),
    [([], 10, 200), ([], 150, 450), (["--launch-ms", "15"], 150, 15)],
)
def test_a_batch_is_no_shorter_than_three_forwards_unless_the_settings_say_so(
    flags: list[str], forward_ms: float, launch_ms: float
):
    settings = load(flags)
    limits = limits_of(settings, torch.device("cpu"), max_tokens=512)
    cost = CostModel(fixed=forward_ms * 1000)
    assert worth_launching(limits, settings, cost).launch_ms == launch_ms
