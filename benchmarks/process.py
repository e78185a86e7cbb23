"""A server in a process of its own: started, watched, seen out. Knows nothing about embeddings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

_ROOT = Path(__file__).resolve().parent.parent
_READY = re.compile(r" ready: .* on grpc (\S+:\d+)(?: and http (\S+:\d+))?")
_START_SECONDS = 120
_STOP_SECONDS = 20
_SAMPLE_SECONDS = 0.05


def settle(threads: int, *, spin: bool) -> None:
    """Set this process's environment, which its children inherit, before torch is imported.

    No setting of Qwire is taken over, and torch gets the same number of threads everywhere. OpenMP
    threads wait without spinning, unless told: GNU OpenMP spins in a process whose one thread calls
    torch, and not in one where two do, as in the server. With any other load on the machine that
    difference alone makes the spinning process several times as slow.
    """
    for name in [name for name in os.environ if name.startswith("QWIRE_")]:
        del os.environ[name]
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if not spin:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


class ServerProcess:
    """`python -m <program>`, which logs a line when ready. Starts at once, ends with the block.

    Args:
        program: a module and its arguments.
        start_seconds: that it may take to be ready.
        stop_seconds: that it may take to end.
    """

    def __init__(
        self,
        program: Sequence[str],
        start_seconds: float = _START_SECONDS,
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__
        self._popen = subprocess.Popen(
            [sys.executable, "-m", *program],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def target(self) -> str:
        """Its gRPC address, as soon as it is ready.

        Raises:
            RuntimeError: it is not, with its log.
        """
        return self._addresses()[0]

    def http_target(self) -> str:
        """Its HTTP address, as soon as it is ready; empty if it has none.

        Raises:
            RuntimeError: it is not, with its log.
        """
        return self._addresses()[1] or ""

    def _addresses(self) -> tuple[str, str | None]:
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline and self._popen.poll() is None:
            if ready := _READY.search(self._read()):
                return ready[1], ready[2]
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self._read()}")

    def variables(self) -> dict[str, str]:
        """Those that its log names: `NAME=value`."""
        return dict(re.findall(r"\b([A-Z_]+)=(\S+)", self._read()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.terminate()
        try:
            self._popen.wait(self._stop_seconds)
        except BaseException:
            self._popen.kill()
            self._popen.wait()
            raise
        finally:
            self._log.close()

    def _read(self) -> str:
        self._log.seek(0)
        return self._log.read()


class Memory:
    """Samples the resident memory of processes, in MB, while the block runs.

    Attributes:
        before: of each process as the block began.
        peak: the most that was seen of each.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self.before = [0.0] * len(pids)
        self.peak = [0.0] * len(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self.before = [resident(pid) for pid in self._pids]
        self.peak = list(self.before)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> list[float]:
        """The peak above the beginning."""
        return [peak - before for before, peak in zip(self.before, self.peak, strict=True)]

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            now = [resident(pid) for pid in self._pids]
            self.peak = [max(pair) for pair in zip(self.peak, now, strict=True)]


def resident(pid: int) -> float:
    """Resident memory of a process in MB (10^6 bytes)."""
    statm = Path(f"/proc/{pid}/statm")
    if statm.exists():
        pages = int(statm.read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    asked = ["ps", "-o", "rss=", "-p", str(pid)]
    return (
        int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout) * 1024 / 1e6
    )


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, 0 where the system does not tell (no /proc)."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text("ascii").rpartition(")")[2].split()  # the name may hold spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
