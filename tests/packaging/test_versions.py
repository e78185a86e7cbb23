"""One version, one licence, and pins that lie inside the ranges that users get."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("integrations/*/pyproject.toml"))]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@pytest.fixture(scope="module")
def version():
    source = (ROOT / "integrations/qwire/_version.py").read_text()
    return re.fullmatch(r'__version__ = "(.+)"\n', source).group(1)


def test_every_distribution_has_the_one_version(built, version):
    """It is spelled in integrations/qwire/_version.py only, and survives the sdist."""
    assert built.metadata["Version"] == version


def test_adapters_accept_the_client_they_are_released_with(version):
    """Their range for qwire is a literal, so a new minor version has to move it."""
    for path in PYPROJECTS[1:]:
        (ours,) = (each for each in dependencies(path) if each.name == "qwire")
        assert ours.specifier.contains(version), path


def test_changelog_opens_with_the_version(version):
    """What the next release brings is written before it is released."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


def test_licence_copies_are_the_licence():
    """A copy, as neither a link nor a path above the folder survives an sdist."""
    for path in PYPROJECTS[1:]:
        copy = path.with_name("LICENSE")
        assert not copy.is_symlink()
        assert copy.read_bytes() == (ROOT / "LICENSE").read_bytes(), copy


@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_tested_is_what_is_allowed(python):
    """Every pin of constraints.txt lies inside the ranges of the pyproject files."""
    pins = pinned(python)
    for path in PYPROJECTS:
        for each in dependencies(path):
            pin = pins.get(canonicalize_name(each.name))
            assert pin is None or each.specifier.contains(pin), f"{path}: {each}, tested: {pin}"


@pytest.mark.parametrize("python", PYTHONS)
def test_torch_is_pinned_for_every_python(python):
    """The demo model's package leaves torch open; only the pin keeps a CPU build a CPU build."""
    assert pinned(python)["torch"] == "2.13.0"


def dependencies(pyproject: Path) -> list[Requirement]:
    """Everything that a pyproject may install."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


def pinned(python: str) -> dict[str, str]:
    """What constraints.txt pins under this Python."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            if not requirement.marker or requirement.marker.evaluate({"python_version": python}):
                assert canonicalize_name(requirement.name) not in pins, line
                pins[canonicalize_name(requirement.name)] = pin.version
    return pins
