"""Find a Python that can make environments.

Knows nothing about this project, and also starts under Python 3.6 (see environment.py).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)
NEWEST = (3, 13)  # tested; a newer one is taken where it is the one that runs this
ANY = (4,)  # newer than all

PROBE = """\
import sys
print("%d.%d.%d" % sys.version_info[:3])
import ensurepip, venv
print("venv")
"""


class NoPythonError(Exception):
    """No interpreter will do; the message says what to do."""


def candidates() -> "list[str]":
    """The running Python, then the tested ones on PATH, newest first."""
    minors = range(NEWEST[1], OLDEST[1] - 1, -1)
    return [sys.executable, *(f"python3.{minor}" for minor in minors)]


def find_python(names: "list[str]", newest: "tuple[int, ...]" = ANY) -> str:
    """The first of these that is neither too old nor too new and can make environments."""
    seen = []
    for path in filter(None, map(shutil.which, names)):
        version, has_venv = probe(path)
        if OLDEST <= version[:2] <= newest and has_venv:
            return path
        if version:
            seen.append(version)
    raise NoPythonError(advice(sorted(set(seen), reverse=True), newest))


def advice(seen: "list[tuple[int, ...]]", newest: "tuple[int, ...]") -> str:
    """What to do when no Python was found but these were seen."""
    fitting = [version for version in seen if OLDEST <= version[:2] <= newest]
    if fitting:
        dotted = f"3.{fitting[0][1]}"
        return (
            f"Python {dotted} is here but cannot create environments. On Debian and Ubuntu:"
            f" sudo apt install python{dotted}-venv"
        )
    needed = "3.10 or later" if newest == ANY else "3.10 to {}.{}".format(*newest)
    found = ", ".join(".".join(map(str, version)) for version in seen) or "none"
    return (
        f"Python {needed} is needed, found: {found}. Install one, or name it:"
        " make PYTHON=/path/to/python3.12 ..."
    )


def probe(python: str) -> "tuple[tuple[int, ...], bool]":
    """A Python's version, and whether it can make environments; `()` when it does not run."""
    try:
        result = subprocess.run(
            [python, "-c", PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,  # an answer takes milliseconds, more on a machine under heavy load
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return (), False
    words = result.stdout.decode("ascii", "replace").split()
    if not words:  # such as a shim for a version that is not installed
        return (), False
    return tuple(map(int, words[0].split("."))), "venv" in words


def python_of(venv: Path) -> Path:
    """An environment's own Python."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"
