"""The examples as modules and as scripts."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.machine_speed import hang_limit

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # as Python does for `python examples/demo.py`


@pytest.fixture(scope="session")
def run_example():
    """Run a script of `examples/` as a user would, from another folder."""

    def run(script, *arguments, timeout=60):
        return subprocess.run(
            [sys.executable, str(EXAMPLES / script), *arguments],
            cwd=EXAMPLES.parent.parent,
            capture_output=True,
            encoding="utf-8",
            timeout=hang_limit(timeout),
            check=False,
        )

    return run
