"""server/FAULTS.md and the tests: each row names tests that are there, each test has its row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "server" / "FAULTS.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| ---" not in line]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def functions_of(path: str) -> set[str]:
    """Names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {n.name for n in tree.body if isinstance(n, kinds) and n.name.startswith("test_")}


@pytest.mark.parametrize("row", [r for r in ROWS if not r.startswith("| what breaks")])
def test_each_row_names_tests_that_are_there(row: str):
    assert row.count("|") == 5, "a row has four columns"
    named = NAMED.findall(row)
    assert named, "a promise without a test"
    for path, name in named:
        assert name in functions_of(path), f"{path} has no {name}"


@pytest.mark.parametrize("path", ["tests/faults/test_inside.py", "tests/faults/test_outside.py"])
def test_each_test_of_a_fault_has_its_row(path: str):
    named = {name for file, name in NAMED.findall(PAGE) if file == path}
    assert named == functions_of(path)
