"""Real servers as processes of their own, one of each kind for the whole session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Loading torch and a model takes about 7 s on an idle machine, and test machines are not idle.
_START_SECONDS = 90
# In one process, because importing torch is most of the work. `--model` comes first.
_BUILD_AND_SERVE = """
import pathlib, runpy, sys
from support.models import tiny_qwen3
from support.rerankers import tiny_reranker
folder = pathlib.Path(sys.argv[2])
tiny_qwen3(folder)
sys.argv += ["--reranker", str(tiny_reranker(folder.with_name("tiny-reranker")))]
runpy.run_module("qwire_server", run_name="__main__", alter_sys=True)
"""
_SERVERS = {"demo_server", "demo_page", "qwen_server"}
# Servers of tests open no HTTP port unless asked to: they would all want the default one.
os.environ["QWIRE_HTTP_PORT"] = "off"
# A shell starts its background jobs deaf to Ctrl-C, and theirs: here too it is to be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def demo_ports() -> Iterator[tuple[str, str]]:
    """Addresses of a server with the demo model, for gRPC and for HTTP."""
    with _server_process("demo") as log:
        yield log.address("grpc"), log.address("http")


@pytest.fixture(scope="session")
def demo_server(demo_ports: tuple[str, str]) -> str:
    """Address of a server with the demo model: English, 384 values, 256 tokens, no prompts."""
    return demo_ports[0]


@pytest.fixture(scope="session")
def demo_page(demo_ports: tuple[str, str]) -> str:
    """Where the same server has its page."""
    return f"http://{demo_ports[1]}"


@pytest.fixture(scope="session")
def qwen_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with a small random Qwen3: its template, 64 values, 512 tokens.

    And a small random Qwen3-Reranker.
    """
    folder = tmp_path_factory.mktemp("served") / "tiny-qwen3"
    with _server_process(str(folder), ["-c", _BUILD_AND_SERVE]) as log:
        yield log.address("grpc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that may have to start a server the time for it, and say what it needs."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(_START_SECONDS + 20), append=False)
            item.add_marker("torch")


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Any:
    """Start pytest-timeout's clock with a limit for this machine as it is now."""
    import pytest_timeout  # noqa: PLC0415  the hook is called by it alone

    limit = hang_limit(settings.timeout)
    return pytest_timeout.pytest_timeout_set_timer(item, settings._replace(timeout=limit))


@contextmanager
def _server_process(model: str, program: Sequence[str] = ("-m", "qwire_server")) -> Iterator[_Log]:
    """Start `qwire serve`, yield its log once ready, stop it with SIGTERM, insist on status 0.

    The same question gives the same bits: on every processor, and whatever was asked before.
    """
    fixed = ["--grpc-port", "0", "--http-port", "0", "--dtype", "float32", "--prefix-cache", "off"]
    command = [sys.executable, *program, "--model", model, *fixed]
    env = {name: value for name, value in os.environ.items() if not name.startswith("QWIRE_")}
    paths = [str(Path(__file__).parent), *filter(None, [env.get("PYTHONPATH")])]
    env["PYTHONPATH"] = os.pathsep.join(paths)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    log = _Log(process)
    try:
        log.wait_until_ready(_START_SECONDS)
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(hang_limit(30)) == 0, f"the server did not end well:\n{log}"
    finally:
        process.kill()
        process.wait()
        log.close()


class _Log:
    """What a server writes, read as it comes so that the pipe never fills."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._told = threading.Event()  # the address, or the end
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_until_ready(self, seconds: float) -> None:
        self._told.wait(hang_limit(seconds))
        assert " ready: " in str(self), f"the server is not ready after {seconds} s:\n{self}"

    def address(self, protocol: str) -> str:
        """A port's address, in the line that announces readiness."""
        (line,) = (line for line in self._lines if " ready: " in line)
        return line.rpartition(f" {protocol} ")[2].split()[0]

    def close(self) -> None:
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def __str__(self) -> str:
        return "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            if " ready: " in line:
                self._told.set()
        self._told.set()
