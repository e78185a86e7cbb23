"""The distributions, built as for a release: sdist first, wheel from the sdist."""

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Distribution:
    """A distribution: its folder, and where its import packages lie below it."""

    name: str
    folder: Path
    packages: tuple[str, ...]

    @property
    def tree(self) -> set[str]:
        """The files that its packages hold in the working tree, as a wheel names them."""
        return {
            str(path.relative_to(self.folder / Path(package).parent))
            for package in self.packages
            for path in (self.folder / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }


DISTRIBUTIONS = [
    Distribution("qwire", ROOT, ("integrations/qwire", "server/qwire_server")),
    Distribution("langchain-qwire", ROOT / "integrations/langchain-qwire", ("langchain_qwire",)),
    Distribution(
        "llama-index-embeddings-qwire",
        ROOT / "integrations/llama-index-embeddings-qwire",
        ("llama_index",),
    ),
    Distribution(
        "llama-index-postprocessor-qwire",
        ROOT / "integrations/llama-index-postprocessor-qwire",
        ("llama_index",),
    ),
]


@dataclass(frozen=True)
class Built:
    """What a build made, beside the tree that it was made from."""

    sdist: Path
    wheel: Path
    tree: set[str]

    @property
    def sdist_files(self) -> set[str]:
        """The files of the sdist, below its one top folder."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    @property
    def wheel_files(self) -> set[str]:
        """The files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def read(self, ending: str) -> bytes:
        """The wheel's one file whose path ends so."""
        (name,) = (name for name in self.wheel_files if name.endswith(ending))
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(name)

    @property
    def metadata(self) -> Message:
        """The wheel's METADATA."""
        return Parser().parsestr(self.read(".dist-info/METADATA").decode())


@pytest.fixture(scope="session", params=DISTRIBUTIONS, ids=lambda each: each.name)
def distribution(request) -> Distribution:
    return request.param


@pytest.fixture(scope="session")
def built(distribution: Distribution, tmp_path_factory) -> Built:
    """The distribution's sdist, and the wheel built from it far from the repository."""
    return build(distribution, tmp_path_factory.mktemp(distribution.name))


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> list[Built]:
    """All of them, for the tests that install them together."""
    return [build(each, tmp_path_factory.mktemp(each.name)) for each in DISTRIBUTIONS]


def build(distribution: Distribution, folder: Path) -> Built:
    """Build the sdist in the tree, unpack it elsewhere, and build the wheel there."""
    tree = distribution.tree
    hatch(distribution.folder, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", **SAFELY)
    (unpacked,) = (folder / "unpacked").iterdir()
    hatch(unpacked, "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return Built(sdist, wheel, tree)


# Python 3.14 filters by default, 3.12 warns without it, and the first releases of 3.10 have none.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def hatch(source: Path, target: str, into: Path) -> None:
    """Run the build backend without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
