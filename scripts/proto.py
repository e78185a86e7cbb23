"""Regenerate the checked-in stubs from proto/: `python3 scripts/proto.py`, or `--check` to compare.

Knows nothing about `.venv`: grpcio-tools 1.62.3 makes the only stubs that import under every
protobuf from 4.25 on, but itself pins protobuf 4.25, so it gets an environment of its own.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import SetUpError, make_venv, succeeds
from interpreters import NoPythonError, candidates, python_of

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-proto"
# Folders of proto/, and where their stubs live: with our clients, or with the server, where they
# serve clients that are not ours.
PACKAGES = {"qwire/v1": "integrations/qwire/v1", "tei/v1": "server/qwire_server/pb/tei/v1"}

TOOLS = "1.62.3"
NEWEST = (3, 12)  # it has no wheel for a newer Python, and its source does not build there
REQUIREMENTS = [f"grpcio-tools=={TOOLS}", "setuptools<81"]  # it imports pkg_resources


def main() -> None:
    """Regenerate or compare, as the command line says."""
    parser = argparse.ArgumentParser(description="Regenerate the checked-in stubs.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when they differ")
    check = parser.parse_args().check
    try:
        make_tools()
    except (SetUpError, NoPythonError) as error:
        sys.exit(f"proto: {error}")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = stale_stubs(Path(folder))
        if not check:
            for path in stale:
                replace(path, Path(folder))
    print("\n".join(f"{'stale' if check else 'written'}: {path}" for path in stale) or "up to date")
    sys.exit(1 if check and stale else 0)


def make_tools() -> None:
    """Create the environment of grpcio-tools, unless it is there."""
    python = str(python_of(VENV))
    has_tools = f"import importlib.metadata as m; assert m.version('grpcio-tools') == '{TOOLS}'"
    if python_of(VENV).exists() and succeeds([python, "-c", has_tools]):
        return
    make_venv(VENV, candidates(), NEWEST)
    if subprocess.run(
        [python, "-m", "pip", "install", "-q", *REQUIREMENTS], check=False
    ).returncode:
        raise SetUpError("pip failed for the reason above; the same command tries again.")


def generate(folder: Path) -> None:
    """Run protoc; the stubs land below the folder as they do below the root."""
    for package, home in PACKAGES.items():
        root, _, inner = home.partition("/")
        imported = inner.removesuffix(package)  # what an import of the stubs begins with
        (folder / root).mkdir(exist_ok=True)
        outputs = [f"--{kind}_out={folder / root}" for kind in ("python", "pyi", "grpc_python")]
        names = sorted(path.name for path in (ROOT / "proto" / package).glob("*.proto"))
        command = [str(python_of(VENV)), "-m", "grpc_tools.protoc", f"-I{imported}={ROOT}/proto"]
        protos = [f"{imported}{package}/{name}" for name in names]
        if subprocess.run([*command, *outputs, *protos], check=False).returncode:
            sys.exit("proto: protoc refused the contract for the reason above.")


def stale_stubs(folder: Path) -> "list[Path]":
    """The stubs that are missing, differ, or belong to no proto any more."""
    names = {
        path.relative_to(base)
        for base in (folder, ROOT)
        for home in PACKAGES.values()
        for path in (base / home).glob("*_pb2*.py*")
    }
    return sorted(name for name in names if content(folder / name) != content(ROOT / name))


def content(path: Path) -> bytes:
    """A file's bytes; none when there is no file, as no stub is empty."""
    return path.read_bytes() if path.exists() else b""


def replace(name: Path, folder: Path) -> None:
    """Put the new stub in place of the old one, or remove one that nothing generates."""
    if (folder / name).exists():
        (ROOT / name).write_bytes((folder / name).read_bytes())
    else:
        (ROOT / name).unlink()


if __name__ == "__main__":
    main()
