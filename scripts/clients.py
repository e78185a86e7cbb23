"""Test the client and both adapters without torch: `python3.13 scripts/clients.py tested`.

`tested` takes what constraints.txt pins, on the Python that runs this; `oldest` and `newest` take
the ends of the ranges that users get. Each has an environment of its own, which pip looks at every
time: what is the newest changes. Knows nothing about `.venv`.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterable  # noqa: UP035  # as in environment.py

from environment import ADAPTERS, SetUpError, cure, locked, make_venv
from interpreters import ANY, NoPythonError, candidates, probe, python_of

ROOT = Path(__file__).resolve().parent.parent
PYPROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("integrations/*/pyproject.toml"))]
EXTRAS = ["progress", "corpus"]  # of the client
TOOLS = ["pytest", "pytest-asyncio", "pytest-timeout", "trustme"]
# LangChain's own suite; the one of the oldest core wants a pytest of its time.
SUITE = "langchain-tests"
TESTS = ["tests/client", "tests/adapters", "-m", "not slow and not torch"]
# Old releases warn of their newer neighbours, and nobody changes them any more.
OLD_WARN = ["-W", "default"]

NEWEST_FOR_OLDEST = (3, 12)  # grpcio 1.60 has no wheel for a newer Python


def main() -> None:
    """Set up and test what the command line names; what it does not know goes to pytest."""
    parser = argparse.ArgumentParser(description="Test client and adapters without torch.")
    parser.add_argument("versions", choices=["tested", "oldest", "newest"])
    known, pytest = parser.parse_known_args()
    try:
        python = set_up(known.versions)
    except (SetUpError, NoPythonError) as error:
        sys.exit(f"clients: {error}")
    foreign = OLD_WARN if known.versions == "oldest" else []
    command = [python, "-m", "pytest", *TESTS, *foreign, *pytest]
    sys.exit(subprocess.call(command, cwd=str(ROOT)))


def set_up(versions: str) -> str:
    """Bring the environment up to date; its Python."""
    pythons, newest = [sys.executable], ANY
    venv = ROOT / ".venv-clients-{}.{}".format(*sys.version_info)
    if versions != "tested":
        pythons, venv = candidates(), ROOT / f".venv-compat-{versions}"
    if versions == "oldest":
        newest = NEWEST_FOR_OLDEST
    python = str(python_of(venv))
    with locked(ROOT / ".venv.lock"):
        if not probe(python)[0]:
            make_venv(venv, pythons, newest)
        constraints = venv / "constraints.txt"
        constraints.write_text(constrain(versions), encoding="utf-8")
        print(f"clients: pip brings {venv.name} up to date.", flush=True)
        tools = TOOLS if versions == "oldest" else [*TOOLS, SUITE]
        client = ".[{}]".format(",".join(EXTRAS))
        install(python, ["-c", str(constraints), "-e", client, *ADAPTERS, *tools])
    return python


def install(python: str, wanted: "list[str]") -> None:
    """Have pip install the newest of all that is wanted."""
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    command += ["--upgrade", "--upgrade-strategy", "eager", *wanted]
    done = subprocess.run(command, cwd=str(ROOT), stderr=subprocess.PIPE, check=False)
    complaints = done.stderr.decode("utf-8", "replace")
    sys.stderr.write(complaints)
    if done.returncode:
        raise SetUpError(cure(complaints))


def constrain(versions: str) -> str:
    """What pip may take: constraints.txt, but for the packages that have a range for users."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if versions == "tested":
        return pins
    lowest = lower_bounds(path.read_text(encoding="utf-8") for path in PYPROJECTS)
    ranged = {*lowest, SUITE}
    lines = [line for line in pins.splitlines() if line.partition("==")[0] not in ranged]
    if versions == "oldest":
        lines += [f"{name}=={version}" for name, version in lowest.items()]
    return "\n".join(lines) + "\n"


def lower_bounds(pyprojects: "Iterable[str]") -> "dict[str, str]":
    """The lowest version that these admit of each package that users get, ours left out."""
    names = "|".join(["dependencies", *EXTRAS])
    lists = re.compile(rf"(?ms)^(?:{names}) = \[(.*?)\](?:  #[^\n]*)?$")
    found = [
        pair
        for text in pyprojects
        for each in lists.findall(text)
        for pair in re.findall(r'"([\w-]+)>=([\d.]+)', each)
    ]
    return {name: version for name, version in found if name != "qwire"}


if __name__ == "__main__":
    main()
