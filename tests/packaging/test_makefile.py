"""`make` tells what it can do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_alone_lists_every_target():
    """Each on a line of its own, with a word about it."""
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", listing, re.MULTILINE) == TARGETS


def test_targets_are_no_files():
    """A folder named like a target (`proto`) would make it up to date for ever."""
    (phony,) = re.findall(r"^\.PHONY: (.+)", MAKEFILE, re.MULTILINE)
    assert phony.split() == TARGETS


def test_make_calls_no_git():
    """An unpacked archive works as a clone does."""
    scripts = "".join(path.read_text() for path in (ROOT / "scripts").glob("*.py"))
    assert not re.search(r"^\s+.*\bgit ", MAKEFILE, re.MULTILINE)
    assert '"git"' not in scripts
