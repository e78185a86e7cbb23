"""What `make test-ray` runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(120)  # a Python that imports the server's packages, on a busy machine
def test_what_needs_a_cluster_is_chosen_by_its_mark():
    """A mark that comes after the choice chooses nothing, and nobody notices."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "ray", "."]
    chosen = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout
    assert "test_a_killed_replica_loses_nothing_and_is_replaced" in chosen
    assert "test_every_rpc_has_a_name_of_its_own" not in chosen
