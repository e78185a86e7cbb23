"""What a figure depends on: processor, memory, versions, commit. No paths, no host names."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_STAT = Path("/proc/stat")
_PACKAGES = (
    "qwire",
    "langchain-qwire",
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "grpcio",
    "protobuf",
    "numpy",
)


def cores() -> int:
    """Processors that this process may use: the threads that torch gets on every side."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_class() -> str:
    """A short name for file names."""
    return f"{cores()}cpu-{platform.system()}-{platform.machine()}".lower()


def machine() -> dict[str, Any]:
    """The machine, and how busy it was as the run began."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "class": machine_class(),
        "cores": cores(),
        "processor": _processor(),
        "memory_gb": round(pages / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def about() -> dict[str, Any]:
    """When, where and with what a result is made."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }


class Neighbours:
    """Watches what other processes take from this machine while the figures are made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._others = _busy_seconds() - _own_seconds()

    def share(self) -> float | None:
        """Part of all processors' time since the start, 0 to 1; None where it is not known."""
        if not _STAT.exists():
            return None
        others = _busy_seconds() - _own_seconds() - self._others
        return round(max(0.0, others) / (time.monotonic() - self._began) / (os.cpu_count() or 1), 3)


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; those that are not installed are left out."""
    installed = {package.name.lower(): package.version for package in metadata.distributions()}
    found = {name: installed[name] for name in _PACKAGES if name in installed}
    return {"python": platform.python_version(), **found}


def commit() -> str:
    """The git commit, with `+changes` if the tree differs from it; empty without git."""
    try:
        number = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("--no-optional-locks", "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return number + ("+changes" if changed else "")


def _busy_seconds() -> float:
    """Processor time that anybody used since the machine started, stolen time included."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, steal = map(
        int, _STAT.read_text("ascii").split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Ours, and that of our children and theirs, whether they have ended or run."""
    if not _STAT.exists():
        return 0.0
    used: dict[int, tuple[int, float]] = {}  # of each process: its parent, and its own seconds
    for path in _STAT.parent.glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        spent = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        used[int(path.parent.name)] = int(fields[1]), spent
    ours, found = 0.0, [os.getpid()]
    while found:
        number = found.pop()
        ours += used[number][1]
        found += [child for child, (parent, _) in used.items() if parent == number]
    return ours


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
