"""Versions with published vulnerabilities are outside the ranges of what users install."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]["server"]
# The last version that each has a published vulnerability of.
VULNERABLE = {"h11": "0.15.0", "starlette": "1.3.0"}


@pytest.mark.parametrize("name", VULNERABLE)
def test_the_range_begins_after_the_last_version_that_is_vulnerable(name: str):
    (requirement,) = [r for r in map(Requirement, SERVER) if r.name == name]
    assert not requirement.specifier.contains(VULNERABLE[name])
    pins = re.findall(rf"^{name}==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pins
    assert all(requirement.specifier.contains(pin) for pin in pins)
