"""What a result says of the machine it was made on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import machine

GRANDCHILD = """
import time
while time.process_time() < 0.3: pass
print("done", flush=True)
time.sleep(60)
"""
CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {GRANDCHILD!r}])"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc")
def test_what_a_running_grandchild_uses_is_not_used_by_others():
    """A server, or a peer's, still runs when the result is written."""
    before = machine._own_seconds()
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout
        child.stdout.readline()
        own = machine._own_seconds() - before
        os.killpg(child.pid, signal.SIGKILL)
    assert own >= 0.25
