"""What nvidia-smi tells of a GPU: what it is, and its clock and power while something runs.

Nothing where there is none.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_ABOUT = {
    "name": "name",
    "driver": "driver_version",
    "memory_mib": "memory.total",
    "power_limit_w": "power.limit",
    "most_sm_mhz": "clocks.max.sm",
}
_WATCHED = {
    "sm_mhz": "clocks.sm",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
    "used_percent": "utilization.gpu",
}
_FORMAT = "--format=csv,noheader,nounits"
_SAMPLE_MS = 250


def about() -> dict[str, str]:
    """The first GPU; empty without one."""
    if not shutil.which("nvidia-smi"):
        return {}
    command = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(_ABOUT.values())}", _FORMAT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    values = done.stdout.strip().split(", ")
    return dict(zip(_ABOUT, values, strict=True)) if len(values) == len(_ABOUT) else {}


class Watch:
    """Samples the first GPU while the block runs.

    Attributes:
        found: median and largest of each figure; empty without a GPU.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._sampling: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if shutil.which("nvidia-smi"):
            query = f"--query-gpu={','.join(_WATCHED.values())}"
            command = ["nvidia-smi", "-i", "0", query, _FORMAT, "-lms", str(_SAMPLE_MS)]
            self._sampling = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sampling:
            self._sampling.terminate()
            self.found = summary(self._sampling.communicate()[0])


def summary(lines: str) -> dict[str, dict[str, float]]:
    """Of samples as nvidia-smi prints them; a line that is cut or says `[N/A]` is left out."""
    number = r"\s*([\d.]+)\s*"
    whole = re.compile(",".join([number] * len(_WATCHED)))
    matches = filter(None, map(whole.fullmatch, lines.splitlines()))
    samples = [[float(value) for value in match.groups()] for match in matches]
    if not samples:
        return {}
    columns = zip(_WATCHED, zip(*samples, strict=True), strict=True)
    return {
        name: {"median": statistics.median(values), "max": max(values)} for name, values in columns
    }
