"""The script behind `make test-compat` and `make test-clients`: what pip is told to take."""

import importlib
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clients():
    """The script, imported as it imports its neighbours: with its own folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("clients")
        for name in ("clients", "environment", "interpreters"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def ranges(clients):
    """Each package that users of the client and the adapters get, with its range."""
    projects = [tomllib.loads(path.read_text())["project"] for path in clients.PYPROJECTS]
    lines = [line for each in projects for line in each["dependencies"]]
    lines += [
        line for extra in clients.EXTRAS for line in projects[0]["optional-dependencies"][extra]
    ]
    needed = [Requirement(line) for line in lines]
    return {each.name: each.specifier for each in needed if each.name != "qwire"}


def test_the_oldest_are_the_lower_bounds_of_the_ranges(clients, ranges):
    """Read from the pyproject files, so that no version is written twice."""
    pins = pinned(clients.constrain("oldest"))
    ours = {"grpcio", "protobuf", "numpy", "tqdm", "pyarrow"}
    assert ours | {"langchain-core", "llama-index-core"} == ranges.keys()
    for name, specifier in ranges.items():
        assert specifier.contains(pins[name])
        assert f">={pins[name]}" in map(str, specifier)


def test_the_newest_are_what_pip_finds(clients, ranges):
    """Nothing is pinned that a range of ours admits; the test tools are."""
    pins = pinned(clients.constrain("newest"))
    assert not pins.keys() & ranges.keys()
    assert "pytest" in pins


def test_the_tested_are_the_constraints(clients):
    """As `.venv` is made of."""
    assert clients.constrain("tested") == (ROOT / "constraints.txt").read_text()


def pinned(constraints):
    """The version of each package, whatever the Python."""
    lines = [line for line in constraints.splitlines() if "==" in line]
    return {each.name: next(iter(each.specifier)).version for each in map(Requirement, lines)}
