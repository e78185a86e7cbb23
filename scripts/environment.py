"""Create or refresh `.venv`, once: `python3 scripts/environment.py demo` or `... dev`.

`... ray` makes `.venv-ray`, so that Ray and its hundred packages are nobody else's.

Knows nothing about what the packages do, calls no git and needs nothing but the standard library.
It also starts under a Python too old for the project (3.6 and later), in order to find a newer one:
hence the annotations in quotes, and no newer syntax.
"""

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Iterator, NamedTuple  # noqa: UP035  # no collections.abc.Iterator[...] in 3.8

from interpreters import ANY, OLDEST, NoPythonError, candidates, find_python, probe, python_of

ADAPTERS = [
    *("-e", "integrations/langchain-qwire"),
    *("-e", "integrations/llama-index-embeddings-qwire"),
    *("-e", "integrations/llama-index-postprocessor-qwire"),
]
SETS = {
    # `langchain` beside the adapters: its init_chat_model is what `--llm` names a model to.
    "demo": ["-e", ".[server,demo,progress]", *ADAPTERS, "langchain"],
    "dev": ["-e", ".[dev]", *ADAPTERS],
    "ray": ["-e", ".[dev,ray]", *ADAPTERS],
}
COVERED_BY = {"demo": ["demo", "dev"], "dev": ["dev"], "ray": ["ray"]}
FOLDERS = {"ray": ".venv-ray"}  # of the others, .venv

DOWNLOADS = """\
Setting up {venv} for `{name}`, once. The big downloads:
  torch       {torch}
  the rest    about 250 MB in 100 packages, 84 MB of them the demo model
{pip}pip reads its usual PIP_* variables and files, for an index mirror or a proxy say.
"""
TORCH_LINUX = """\
about 530 MB, and 2 to 3 GB of CUDA libraries with it.
              For the CPU build (200 MB) set PIP_EXTRA_INDEX_URL to PyTorch's CPU index (its
              address: https://pytorch.org/get-started/locally) in front of the same command."""
TORCH_ELSEWHERE = "about 120 MB"

# What pip writes when it fails, and the one line that cures it; the first that matches counts.
NO_NETWORK = (
    r"from versions: none|NewConnectionError|ConnectTimeout|ReadTimeout|name resolution"
    r"|Name or service not known|ProxyError|SSLError"
)
CURES = {
    r"No space left": "The disk is full: .venv takes up to 8 GB, and TMPDIR as much meanwhile.",
    r"Permission denied": "Part of .venv belongs to somebody else: remove .venv, then run again.",
    NO_NETWORK: "pip cannot reach its package index. Check the network, or name a mirror or a proxy"
    " (PIP_INDEX_URL, PIP_PROXY), then run the same command again.",
    r"No matching distribution": "A package has no release for this Python or machine."
    " Another Python may do: make clean, then make PYTHON=python3.12 ...",
}

# Run in `.venv` after an interruption: 1 when some package is not there as a whole.
CUT_IN_HALF = """\
import importlib.metadata as m, sys
def whole(file):
    path = file.locate()
    return file.suffix == ".pyc" or path.exists() and file.size in (None, path.stat().st_size)
sys.exit(any(d.files is None or not all(map(whole, d.files)) for d in m.distributions()))
"""


class Project(NamedTuple):
    """A tree to set up: its folder, the pip arguments of each set, the environment's name."""

    root: Path
    sets: "dict[str, list[str]]"
    folder: str = ".venv"

    @property
    def venv(self) -> Path:
        """The environment's folder."""
        return self.root / self.folder

    @property
    def stamp(self) -> Path:
        """The file that says which set is complete, or that one was begun."""
        return self.venv / "set-up"


class SetUpError(Exception):
    """The set-up cannot go on; the message says what to do."""


def main() -> None:
    """Set up what the command line names."""
    parser = argparse.ArgumentParser(description="Create or refresh .venv; does nothing twice.")
    parser.add_argument("set", choices=sorted(SETS))
    name = parser.parse_args().set
    root = Path(__file__).resolve().parent.parent
    try:
        set_up(Project(root, SETS, FOLDERS.get(name, ".venv")), name, candidates())
    except (SetUpError, NoPythonError) as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        sys.exit("set-up: stopped; the same command starts it again.")


def set_up(project: Project, name: str, pythons: "list[str]") -> bool:
    """Make `.venv` hold the named set; False when it already does."""
    if is_complete(project, name):  # before the lock: a tree that is ready may be read-only
        return False
    with locked(project.root / ".venv.lock"):
        if is_complete(project, name):
            return False
        if not is_usable(project):
            make_venv(project.venv, pythons)
        announce(project, name)
        project.stamp.write_text("begun\n", encoding="ascii")
        install(project, name)
        project.stamp.write_text(digest(project, name) + "\n", encoding="ascii")
    print(f"set-up: {project.folder} is ready.", flush=True)
    return True


def is_complete(project: Project, name: str) -> bool:
    """Whether the last set-up that ended here installed this set, or one that holds it."""
    python = python_of(project.venv)
    if not (project.stamp.exists() and os.access(str(python), os.X_OK)):
        return False
    stamp = project.stamp.read_text(encoding="ascii").strip()
    return stamp in [digest(project, each) for each in COVERED_BY[name]]


def digest(project: Project, name: str) -> str:
    """Everything that decides what the set installs, as one hash."""
    pyprojects = sorted(project.root.glob("integrations/*/pyproject.toml"))
    texts = [(project.root / "pyproject.toml"), *pyprojects]
    parts = [name, str(project.root), *project.sets[name]]
    parts += [what_is_installed(path.read_text(encoding="utf-8")) for path in texts]
    parts.append((project.root / "constraints.txt").read_text(encoding="utf-8"))
    parts.append((project.venv / "pyvenv.cfg").read_text(encoding="utf-8"))  # which Python
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def what_is_installed(pyproject: str) -> str:
    """A pyproject without its lint and test settings: a new ruff rule needs no set-up."""
    return re.sub(r"(?ms)^\[+tool\.(?!hatch).*?(?=^\[|\Z)", "", pyproject)


@contextlib.contextmanager
def locked(path: Path) -> "Iterator[None]":
    """Hold the lock file, so that two makes at once set up one after the other."""
    try:
        file = path.open("a", encoding="ascii")
    except OSError as error:
        reason = f"cannot write in {path.parent} ({error.strerror})"
        raise SetUpError(f"{reason}: copy the project to a folder of your own.") from error
    with file:
        take_lock(file)
        yield


def take_lock(file: "IO[str]") -> None:
    """Wait until nobody else holds the file; the system frees it when its holders have ended."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415  # exists on Windows only

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        return
    import fcntl  # noqa: PLC0415  # exists elsewhere only

    os.set_inheritable(file.fileno(), True)  # held by pip too, which may outlive this process
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("set-up: waiting for another one in this folder.", flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)


def is_usable(project: Project) -> bool:
    """Whether `.venv` has a Python, its pip, and no package that an interruption cut in half."""
    python = str(python_of(project.venv))
    finished = project.stamp.exists() and project.stamp.read_text(encoding="ascii") != "begun\n"
    return (
        probe(python)[0] >= OLDEST
        and succeeds([python, "-m", "pip", "--version"])
        and (finished or succeeds([python, "-c", CUT_IN_HALF]))
    )


def succeeds(command: "list[str]") -> bool:
    """Whether the command exits with 0; its output is dropped."""
    devnull = subprocess.DEVNULL
    return subprocess.run(command, stdout=devnull, stderr=devnull, check=False).returncode == 0


def make_venv(venv: Path, pythons: "list[str]", newest: "tuple[int, ...]" = ANY) -> None:
    """Create the environment, in place of what is left of another."""
    python = find_python(pythons, newest)
    print(f"set-up: creating {venv.name} with {python}", flush=True)
    if subprocess.run([python, "-m", "venv", "--clear", str(venv)], check=False).returncode:
        raise SetUpError(f"`{python} -m venv` failed for the reason above.")


def announce(project: Project, name: str) -> None:
    """Say what is about to be downloaded, unless torch is there already."""
    has_torch = "import importlib.metadata as m; m.version('torch')"
    if succeeds([str(python_of(project.venv)), "-c", has_torch]):
        print(f"set-up: bringing {project.folder} up to date for `{name}`.", flush=True)
        return
    torch = TORCH_LINUX if sys.platform == "linux" else TORCH_ELSEWHERE
    names = sorted(key for key in os.environ if key.startswith("PIP_"))  # values may hold passwords
    pip = "  pip's own   {} from your environment\n".format(", ".join(names)) if names else ""
    print(DOWNLOADS.format(venv=project.folder, name=name, torch=torch, pip=pip), flush=True)


def install(project: Project, name: str) -> None:
    """Install in one pip command: the adapters need a `qwire` that is on no index."""
    command = [str(python_of(project.venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["-c", "constraints.txt", *project.sets[name]]
    complaints = []
    pipe, cwd = subprocess.PIPE, str(project.root)
    with subprocess.Popen(command, cwd=cwd, stderr=pipe, close_fds=False) as pip:  # keeps the lock
        for line in pip.stderr or ():
            sys.stderr.write(line.decode("utf-8", "replace"))
            complaints.append(line.decode("utf-8", "replace"))
    if pip.returncode:
        raise SetUpError(cure("".join(complaints)))


def cure(complaints: str) -> str:
    """What to do about a pip that failed, from what it wrote."""
    for pattern, advice in CURES.items():
        if re.search(pattern, complaints):
            return advice
    return "pip failed for the reason above; the same command tries again."


if __name__ == "__main__":
    main()
