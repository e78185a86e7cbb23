"""`qwire deploy` as a process, with a Ray cluster of its own that shares no port and no folder.

Knows no Ray: what it watches are processes. Where a test needs a model that sleeps, the process is
`python -m support.ray_cluster SECONDS FLAGS` instead.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

START_SECONDS = 240  # some ten processes, on machines that have other things to do
_STOP_SECONDS = 120
_TRIES = 3
_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)


class RayCluster:
    """A deployment that runs; use in `with`.

    Args:
        flags: of `qwire deploy`.
        program: that runs it, as arguments of Python.

    Attributes:
        target: where clients go.
        fallback: where Ray's own proxy takes calls while no replica is up, and at any other time.
    """

    def __init__(self, *flags: str, program: Sequence[str] = ("-m", "qwire", "deploy")) -> None:
        self._flags = flags
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="qr", dir="/tmp"))  # sockets' paths are short
        self._environment = self._private()
        self.fallback = "127.0.0.1:" + self._environment["RAY_SERVE_FALLBACK_PROXY_GRPC_PORT"]
        grpc_port, http_port = free_ports(2)
        self._ports = ["--grpc-port", str(grpc_port), "--ray-http-port", str(http_port)]
        self.target = f"127.0.0.1:{grpc_port}"
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for _ in range(_TRIES):
            self._process = self._start()
            if self._wait_until_ready(self._process):
                return self
        raise AssertionError(self._end())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        try:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(_STOP_SECONDS) == 0, self._log.read_text("utf-8")
        finally:
            self._end()

    def _end(self) -> str:
        """End whatever still runs; the log."""
        log = self._log.read_text("utf-8", "replace")
        for pid, _ in self._processes():
            os.kill(pid, signal.SIGKILL)
        assert self._process
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        return log

    def replicas(self) -> list[int]:
        """Their process ids."""
        return sorted(pid for pid, name in self._processes() if "ServeReplica" in name)

    def kill_one(self) -> int:
        """End a replica as a crash would; its process id."""
        victim = self.replicas()[0]
        os.kill(victim, signal.SIGKILL)
        return victim

    def deploy_again(self, *flags: str) -> None:
        """Deploy to the same cluster with other flags."""
        self.run(*self._program, *self._flags, *self._ports, *flags)

    def run(self, *program: str) -> None:
        """Run another program of this cluster to its end, as arguments of Python."""
        with self._log.open("ab") as log:
            done = subprocess.run(
                [sys.executable, *program],
                stdout=log,
                stderr=log,
                env={**self._environment, **self._address()},
                timeout=START_SECONDS,
                check=False,
            )
        assert done.returncode == 0, self._log.read_text("utf-8")

    def flag(self, name: str) -> str:
        """What one of the deployment's flags says."""
        return self._flags[self._flags.index(name) + 1]

    def wait_for(self, count: int, without: Sequence[int] = (), seconds: float = 120) -> None:
        """Return once there are so many replicas, none of them one of `without`."""
        ends = time.monotonic() + hang_limit(seconds)
        while len(now := self.replicas()) != count or set(now) & set(without):
            assert time.monotonic() < ends, f"{now} after {seconds} s"
            time.sleep(0.1)

    def _address(self) -> dict[str, str]:
        """The variables that mean this cluster; "auto" would be any of the machine's."""
        return dict(re.findall(r"(RAY_\w+)=(\S+)", self._log.read_text("utf-8", "replace")))

    def _private(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
        low = free_ports(1)[0]
        ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        paths = [str(Path(__file__).parents[1]), *filter(None, [kept.get("PYTHONPATH")])]
        return {
            **kept,
            **ports,
            "PYTHONPATH": os.pathsep.join(paths),
            "HOME": str(self._folder),  # Ray keeps a token there
            "RAY_TMPDIR": str(self._folder),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{self._folder}/ha/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{self._folder}/ha/admin.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{self._folder}/ha",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{self._folder}/ha/state",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{self._folder}/ha/metrics.sock",
            # A replica takes the first free port of a range.
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(low),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(low + 100),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(low + 101),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(low + 200),
        }

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, *self._program, *self._flags, *self._ports]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it came up; on a busy machine Ray gives up after 30 s, whatever one says."""
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            log = self._log.read_text("utf-8", "replace")
            if " ready: " in log:
                return True
            if process.poll() is not None:
                assert "timed out during startup" in log, self._end()
                return False
            time.sleep(0.2)
        return False

    def _processes(self) -> Iterator[tuple[int, str]]:
        """All that this cluster runs: they inherited our folder's name."""
        mine = f"RAY_TMPDIR={self._folder}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if mine in (folder / "environ").read_bytes().split(b"\0"):
                        yield int(folder.name), (folder / "cmdline").read_text("utf-8", "replace")
                except OSError:  # it ended, or is not ours
                    continue


class InBackground:
    """Runs a function again and again in a thread until the `with` is left; raises its error."""

    def __init__(self, function: object) -> None:
        self.times = 0
        self._function = function
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._function()  # type: ignore[operator]  # it is one
                self.times += 1
        except BaseException as error:  # noqa: BLE001  raised where it is looked for
            self._error = error


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def load_slow(settings: Settings) -> LoadedModel:
    """A model that sleeps so many seconds for each text: the name says it."""
    from support import slow_server  # noqa: PLC0415  it needs more than this module

    return slow_server.slow_model(float(settings.model))


def main() -> None:
    """`qwire deploy` with that model."""
    from qwire_server import logs  # noqa: PLC0415
    from qwire_server.cluster.deploy import deploy  # noqa: PLC0415
    from qwire_server.settings import load_as  # noqa: PLC0415
    from qwire_server.settings.deploy import DeploySettings  # noqa: PLC0415
    from support.ray_cluster import load_slow  # noqa: PLC0415  not __main__'s, for replicas

    logs.configure("text", "info")
    deploy(load_as(DeploySettings, sys.argv[1:], "deploy"), load=load_slow)


def _is_foreign(name: str) -> bool:
    return name.startswith(("QWIRE_", "RAY_"))


if __name__ == "__main__":
    main()
