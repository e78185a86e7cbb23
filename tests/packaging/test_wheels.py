"""A release holds what the tree holds: an editable install would hide what a wheel lacks."""

import configparser
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def test_wheel_holds_exactly_the_package_files_of_the_tree(built):
    """Nothing is dropped by .gitignore or the build settings, and nothing strays in."""
    packaged = {name for name in built.wheel_files if ".dist-info/" not in name}
    assert packaged == built.tree


def test_wheel_metadata_has_the_licence_and_nothing_unknown(built):
    """The licence travels inside the wheel, under the path that the metadata gives."""
    names = {name.partition("/")[2] for name in built.wheel_files if ".dist-info/" in name}
    assert names - {"entry_points.txt"} == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}
    assert built.read("licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_every_import_package_is_typed(built, distribution):
    """Each top package, or namespace leaf, has its py.typed."""
    typed = {name for name in built.wheel_files if name.endswith("/py.typed")}
    kind = distribution.name.removeprefix("llama-index-").removesuffix("-qwire")
    leaves = {"llama_index": f"llama_index/{kind}/qwire"}
    packages = [Path(package).name for package in distribution.packages]
    assert typed == {f"{leaves.get(name, name)}/py.typed" for name in packages}


def test_wheels_are_pure_python(built):
    """One for every system and Python."""
    assert built.wheel.name.endswith("-py3-none-any.whl")


def test_no_tests_are_inside(built):
    """Neither ours nor what they need."""
    assert not [name for name in built.wheel_files if "test" in name or "conftest" in name]


def test_the_clients_wheel_holds_the_stubs(built, distribution):
    """Checked in, as nobody who installs has protoc; with the types of the messages."""
    ends = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    stubs = {"__init__.py", *(f"{name}{end}" for name in ("embedding", "rerank") for end in ends)}
    held = {name for name in built.wheel_files if name.startswith("qwire/v1/")}
    assert held == (
        {f"qwire/v1/{name}" for name in stubs} if distribution.name == "qwire" else set()
    )


def test_the_servers_wheel_holds_the_page(built, distribution):
    """Each file that the page's files name, whatever its kind."""
    folder = "qwire_server/api/http/page/"
    held = {name.removeprefix(folder) for name in built.wheel_files if name.startswith(folder)}
    if distribution.name != "qwire":
        assert not held
        return
    page = ROOT / "server" / folder
    named = set(
        re.findall(r'(?:src|href)="([\w./]+\.\w+)"', (page / "index.html").read_text("utf-8"))
    )
    named |= set(re.findall(r'"(samples/[\w.]+)"', (page / "samples.js").read_text("utf-8")))
    for script in page.rglob("*.js"):
        imports = re.findall(r'from "(\.[\w./]+)"', script.read_text("utf-8"))
        named |= {str((script.parent / each).resolve().relative_to(page)) for each in imports}
    assert len(named) > 30
    assert named <= held


def test_namespace_packages_stay_open(built):
    """An __init__.py above the leaf would hide llama-index-core."""
    above = ("llama_index", "llama_index/embeddings", "llama_index/postprocessor")
    assert not built.wheel_files & {f"{name}/__init__.py" for name in above}


def test_sdist_holds_no_tests_and_no_strays(built, distribution):
    """The sdist is what the wheel needs, the contract, and the readme beside the server."""
    own = {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", ".gitignore"}
    if distribution.name == "qwire":
        own.add("README.zh-CN.md")
    folders = {Path(package).parts[0] for package in distribution.packages} | {"proto"}
    tops = {name.partition("/")[0] for name in built.sdist_files}
    assert tops <= own | folders
    assert own <= tops
    assert not [name for name in built.sdist_files if "tests/" in name or name.endswith(".pyc")]


def test_client_needs_three_packages_and_brings_the_command(built, distribution):
    """`pip install qwire` stays light: no torch, no transformers."""
    requirements = map(Requirement, built.metadata.get_all("Requires-Dist"))
    plain = {each.name for each in requirements if not each.marker}
    if distribution.name != "qwire":
        assert "qwire" in plain
        return
    assert plain == {"grpcio", "protobuf", "numpy"}
    entry_points = configparser.ConfigParser()
    entry_points.read_string(built.read("entry_points.txt").decode())
    assert dict(entry_points["console_scripts"]) == {"qwire": "qwire.cli:main"}


def test_gitignore_patterns_are_anchored():
    """The build obeys them: `model/` once dropped qwire_server/model from the wheel."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    loose = {pattern for pattern in patterns if not pattern.startswith("/")}
    assert loose == {"__pycache__/", "*.egg-info/"}
