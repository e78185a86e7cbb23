"""Infinity, a peer that serves over HTTP: an environment of its own, its server, its clients.

Its newest release wants other versions of transformers and numpy than we do.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.suite.measure import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.suite.workloads import Workload

VERSION = "0.0.78"
_VENV = Path(__file__).resolve().parents[2] / ".venv-infinity"
_PINS = [f"infinity-emb[server,torch]=={VERSION}", "torch==2.13.0"]
_MODEL = "m"
_START_SECONDS = 180
_STOP_SECONDS = 20
_ANSWER_SECONDS = 60


def environment() -> Path:
    """The environment's `infinity_emb`; pip makes it when first asked for, in minutes."""
    program = _VENV / "bin" / "infinity_emb"
    done = _VENV / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_VENV)], check=True)
        pip = [str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", *_PINS]
        subprocess.run(pip, check=True)
        done.touch()
    return program


@contextmanager
def served(folder: Path, threads: int) -> Iterator[int]:
    """Its server with a model in float32 on the CPU, at its own defaults; the port."""
    port = _free_port()
    flags = ["--model-id", str(folder), "--served-model-name", _MODEL, "--engine", "torch"]
    flags += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    variables = {
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    with tempfile.TemporaryFile("w+") as log:
        # --no-bettertransformer: that needs a package which is gone from new torch versions.
        command = [str(environment()), "v2", *flags, "--no-bettertransformer"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        try:
            _wait_until_healthy(port, process)
            yield port
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}\n{log.read()}") from error
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


class Callers:
    """Clients in threads, each with one request in flight on a connection that it keeps.

    Args:
        port: of the server.
        workload: of the texts.
        callers: at a time.
        texts_per_call: of each request.
        different: texts; callers begin again when all were asked for.
    """

    def __init__(
        self, port: int, workload: Workload, callers: int, texts_per_call: int, different: int
    ) -> None:
        self._port, self._callers, self._texts = port, callers, texts_per_call
        texts = workload.texts(different)
        self._bodies = itertools.cycle(
            [_body(texts[i : i + texts_per_call]) for i in range(0, different, texts_per_call)]
        )
        self._lock = threading.Lock()
        self._answered, self._over = threading.Event(), threading.Event()
        self._done: list[tuple[float, float]] = []  # began, ended

    def run(self, warm: float, seconds: float) -> dict[str, Any]:
        """What was answered in the window after the warm-up."""
        with ThreadPoolExecutor(self._callers) as threads:
            asking = [threads.submit(self._ask) for _ in range(self._callers)]
            try:
                time.sleep(warm)
                self._answered.clear()
                since = time.perf_counter()
                time.sleep(seconds)
                self._answered.wait(_ANSWER_SECONDS)  # a slow device gets longer
                until = time.perf_counter()
            finally:
                self._over.set()
        for each in asking:
            each.result()
        inside = [one for one in self._done if since <= one[1] < until]
        calls = len(inside)
        return {
            "calls": calls,
            "texts_per_second": digits(calls * self._texts / (until - since)),
            "ms": milliseconds([end - start for start, end in inside]),
        }

    def _ask(self) -> None:
        connection = _connection(self._port)
        while not self._over.is_set():
            start = time.perf_counter()
            with self._lock:
                body = next(self._bodies)
            _post(connection, body)
            self._done.append((start, time.perf_counter()))
            self._answered.set()
        connection.close()


def vectors(port: int, texts: list[str]) -> list[list[float]]:
    """Of each text."""
    body = json.dumps({"model": _MODEL, "input": texts}).encode()
    rows = json.loads(_post(_connection(port), body))["data"]
    return [row["embedding"] for row in rows]


def _body(texts: list[str]) -> bytes:
    return json.dumps({"model": _MODEL, "input": texts, "encoding_format": "base64"}).encode()


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=600)


def _post(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("POST", "/embeddings", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = reply.read()
    if reply.status != http.HTTPStatus.OK:
        raise RuntimeError(f"Infinity answers {reply.status}: {content[:200]!r}")
    return content


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = _connection(port)
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError("Infinity did not start")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
