"""A server of several processes, one of which is killed now and then."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import qwire
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from support.keys import KeyFile
from support.machine_speed import hang_limit
from support.models import tiny_qwen3

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(240), pytest.mark.torch]

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("QWIRE_")}
TEXTS = [f"text {number} " + "and more " * (number % 7) for number in range(3000)]
FIXED = ["--dtype", "float32", "--prefix-cache", "off"]


class Several:
    """`qwire serve` with these arguments; use in `with`."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "qwire", "serve", "--grpc-port", "0", *arguments]
        if "--http-port" not in arguments:
            command += ["--http-port", "off"]
        self.popen = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        try:
            ready = self.wait_for(r" ready: .* on grpc (\S+:\d+)(?: and http (\S+:\d+))?")
        except BaseException:
            self.__exit__()
            raise
        self.target, self.http = ready[1], ready[2]
        return self

    def __exit__(self, *_exc_info):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.popen.poll() is None:
                self.popen.terminate()
                self.popen.wait(hang_limit(20))
        for pid in [self.popen.pid, *self.pids().values()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()
        self._reader.join(hang_limit(5))
        assert self.popen.stderr
        self.popen.stderr.close()

    def wait_for(self, pattern: str, seconds: float = 90) -> re.Match[str]:
        """The first line that matches."""
        ends = time.monotonic() + hang_limit(seconds)
        with self._more:
            while True:
                found = [match for line in self.lines if (match := re.search(pattern, line))]
                if found:
                    return found[0]
                if not self._more.wait(ends - time.monotonic()) or self.popen.poll() is not None:
                    raise AssertionError(f"no line has {pattern}:\n" + "\n".join(self.lines))

    def pids(self) -> dict[str, int]:
        """Of the processes that run now, by name."""
        found = (re.search(r" (\S+) is process (\d+)$", line) for line in self.lines)
        return {match[1]: int(match[2]) for match in found if match}

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.pids()[name], number)

    def _read(self) -> None:
        for line in self.popen.stderr or ():
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


@pytest.fixture(scope="module")
def two_fronts(folder) -> Iterator[Several]:
    """Two fronts and one device."""
    arguments = ["--model", str(folder), "--fronts", "2", "--http-port", "0", *FIXED]
    with Several(*arguments) as server:
        yield server


@pytest.fixture(scope="module")
def expected(folder) -> np.ndarray:
    """Of a server that is one process."""
    with Several("--model", str(folder), *FIXED) as one, qwire.Client(one.target) as client:
        return client.embed_documents(TEXTS)


def stream(target: str, kills=lambda _n: None) -> dict[int, np.ndarray]:
    """Vectors of all texts, each of them once."""
    answers: Counter[int] = Counter()
    found = {}
    with qwire.Client(target, timeout=hang_limit(100)) as client:
        for item in client.embed_stream(enumerate(TEXTS)):
            assert item.error is None, item.error
            answers[item.id] += 1
            found[item.id] = item.embedding
            kills(len(found))
    assert set(answers.values()) == {1}
    assert len(answers) == len(TEXTS)
    return found


@contextlib.contextmanager
def opened(target: str):
    """A stream, on a connection of its own, that has one answer; the rest, and what ends it."""
    finish = threading.Event()

    def messages():
        yield pb.EmbedStreamRequest(ids=[1], texts=["before"])
        finish.wait(hang_limit(60))
        yield pb.EmbedStreamRequest(ids=[2], texts=["after"])

    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        replies = pb_grpc.EmbeddingStub(channel).EmbedStream(messages())
        try:
            assert list(next(replies).ids) == [1]
            yield replies, finish
        finally:
            finish.set()


def in_use(target: str) -> bool:
    """Whether a client may not open the one stream that it may have."""
    try:
        with opened(target):
            return False
    except grpc.RpcError:
        return True


def same(found, expected) -> None:
    together = np.stack([found[i] for i in range(len(TEXTS))])
    np.testing.assert_allclose(together, expected, atol=2e-5)


def metrics(server: Several) -> str:
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=hang_limit(20)) as reply:
        return reply.read().decode()


def figure(page: str, name: str, **labels: str) -> dict[str, float]:
    """By process."""
    found = {}
    for line in page.splitlines():
        if line.startswith(name + "{") and all(f'{k}="{v}"' for k, v in labels.items()):
            process = re.search(r'process="([^"]*)"', line)
            assert process
            found[process[1]] = found.get(process[1], 0) + float(line.split()[-1])
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that cannot start."""
    return subprocess.run(
        [sys.executable, "-m", "qwire", "serve", "--http-port", "off", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=hang_limit(60),
        check=False,
    )


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition, seconds: float = 30.0) -> None:
    ends = time.monotonic() + hang_limit(seconds)
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.05)


def status(target: str) -> int:
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=hang_limit(5)).status


def test_the_vectors_are_those_of_one_process(two_fronts, expected):
    same(stream(two_fronts.target), expected)
    with qwire.Client(two_fronts.target) as client:
        reply = client.embed(TEXTS[:40], input_type="document")
        np.testing.assert_allclose(reply.vectors, expected[:40], atol=2e-5)
        assert reply.tokens.sum() > 40


def test_all_fronts_are_used_and_every_figure_says_whose_it_is(two_fronts):
    for _ in range(12):  # the kernel chooses by the caller's port
        with qwire.Client(two_fronts.target) as client:
            client.embed_query("hello")
    page = metrics(two_fronts)
    calls = figure(page, "qwire_requests_total")
    assert set(calls) == {"front-0", "front-1"}
    assert set(figure(page, "qwire_batch_texts_total")) >= {"engine-0"}
    assert figure(page, "qwire_queue_bound_seconds") == {"desk": 10.0}
    assert figure(page, "qwire_ready") == {"front-0": 1.0, "front-1": 1.0}


def test_stats_are_of_the_whole_server_whoever_is_asked(two_fronts):
    before = []
    with qwire.Client(two_fronts.target) as client:
        before.append(client.stats().texts)
        client.embed(TEXTS[:50])
    for _ in range(6):
        with qwire.Client(two_fronts.target) as client:
            stats = client.stats()
            assert stats.texts == before[0] + 50
            assert stats.books.accepted == stats.books.answered > 50


def test_a_front_that_is_killed_is_replaced_and_its_callers_go_on(two_fronts, expected):
    killed = []

    def kills(done: int) -> None:
        if done > 500 and not killed:
            before = two_fronts.pids()
            for name in ("front-0", "front-1"):  # whichever serves this stream is one of them
                two_fronts.kill(name)
            killed.append(before)

    same(stream(two_fronts.target, kills), expected)
    again = two_fronts.pids()
    assert all(again[name] != killed[0][name] for name in ("front-0", "front-1"))
    assert again["engine-0"] == killed[0]["engine-0"]
    with qwire.Client(two_fronts.target) as client:  # nothing is held for those who died
        until(lambda: client.stats().bulk.held_seconds == 0)
        until(lambda: client.stats().clients_active == 0)


def test_a_device_that_is_killed_is_replaced_and_health_says_so(two_fronts, expected):
    killed = []

    def kills(done: int) -> None:
        if done > 500 and not killed:
            killed.append(two_fronts.pids()["engine-0"])
            two_fronts.kill("engine-0")
            until(lambda: status(two_fronts.target) == health_pb2.HealthCheckResponse.NOT_SERVING)

    same(stream(two_fronts.target, kills), expected)
    assert two_fronts.pids()["engine-0"] != killed[0]
    assert status(two_fronts.target) == health_pb2.HealthCheckResponse.SERVING
    two_fronts.wait_for("engine-0 was ended by SIGKILL, and is started again")


def test_two_devices_share_the_work_and_one_is_enough(folder, expected):
    with Several("--model", str(folder), "--devices", "cpu,cpu", "--http-port", "0", *FIXED) as two:
        until(
            lambda: (
                set(figure(metrics(two), "qwire_batch_seconds_count")) == {"engine-0", "engine-1"}
            )
        )
        same(stream(two.target), expected)
        texts = figure(metrics(two), "qwire_batch_texts_total")
        assert min(texts.values()) > len(TEXTS) / 10
        assert sum(texts.values()) == len(TEXTS)

        def kills(done: int) -> None:
            if done == 500:
                two.kill("engine-1")
                assert status(two.target) == health_pb2.HealthCheckResponse.SERVING

        same(stream(two.target, kills), expected)


@pytest.mark.slow
def test_a_device_that_does_not_answer_is_ended_and_replaced(folder):
    arguments = ["--model", str(folder), "--fronts", "1", "--stall-seconds", "1", *FIXED]
    with (
        Several(*arguments) as server,
        qwire.Client(server.target, timeout=hang_limit(60)) as client,
    ):
        server.kill("engine-0", signal.SIGSTOP)
        assert len(client.embed_query("hello")) == 64
        server.wait_for("engine-0 does not answer: it is ended")


def test_sigterm_answers_open_streams_and_leaves_nothing_behind(folder):
    with Several("--model", str(folder), "--fronts", "2", *FIXED) as server:
        pids = server.pids()
        with opened(server.target) as (replies, finish):
            server.popen.send_signal(signal.SIGTERM)
            server.wait_for("front-. stopping: 1 calls open")
            finish.set()
            assert [number for reply in replies for number in reply.ids] == [2]
        assert server.popen.wait(hang_limit(30)) == 0, "\n".join(server.lines)
        assert all(is_gone(pid) for pid in pids.values())


def test_nothing_outlives_a_supervisor_that_is_killed(folder):
    with Several("--model", str(folder), "--fronts", "1", *FIXED) as server:
        server.popen.kill()
        for pid in server.pids().values():
            until(lambda pid=pid: is_gone(pid))


def test_a_client_has_its_quota_at_all_fronts_together(folder):
    arguments = ["--model", str(folder), "--fronts", "2", "--client-streams", "1", *FIXED]
    with Several(*arguments) as server:
        with opened(server.target) as (replies, finish):
            for _ in range(8):
                with (
                    pytest.raises(grpc.RpcError, match="has 1 streams open"),
                    opened(server.target),
                ):
                    pass
            finish.set()
            assert [number for reply in replies for number in reply.ids] == [2]
        until(lambda: not in_use(server.target))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "/no/such/folder", "--fronts", "1"], "no such folder"),
        (["--fronts", "1", "--devices", "cpu", "--device", "cpu"], "give one of them"),
        (["--devices", "cuda:0,cuda:0"], "name each GPU once"),
        (["--fronts", "1", "--host", "0.0.0.0"], "--insecure-listen"),
    ],
    ids=["model", "both", "twice", "open"],
)
def test_what_cannot_start_says_why_with_status_2(arguments, told):
    done = run("--grpc-port", "0", *arguments)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_of_another_server_is_not_shared_with_it(two_fronts, folder):
    port = two_fronts.target.rpartition(":")[2]
    done = run("--fronts", "1", "--grpc-port", port, "--model", str(folder))
    assert done.returncode == 2
    assert "--grpc-port" in done.stderr


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with a short name, as sockets need it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setitem(ENVIRONMENT, "TMPDIR", folder)
        yield Path(folder)


def test_what_a_killed_supervisor_left_is_removed_at_the_next_start(folder: Path, temporary: Path):
    with Several("--model", str(folder), *FIXED, "--fronts", "1") as first:
        (living,) = temporary.glob("qwire-*")
        with Several("--model", str(folder), *FIXED, "--fronts", "1") as second:
            assert living.exists()  # one that runs keeps its own
            (abandoned,) = set(temporary.glob("qwire-*")) - {living}
            second.popen.kill()
            second.popen.wait()
            assert abandoned.exists()
        with Several("--model", str(folder), *FIXED, "--fronts", "1"):
            assert not abandoned.exists()
            assert living.exists()
        assert first.popen.poll() is None
    assert not list(temporary.glob("qwire-*"))


def test_sighup_reads_keys_again_and_ends_no_process(folder: Path, tmp_path: Path):
    file = KeyFile(tmp_path / "keys.toml")
    key = file.new("a")
    arguments = ["--model", str(folder), *FIXED, "--fronts", "2", "--api-keys-file", str(file.path)]
    with Several(*arguments) as several:
        pids = several.pids()
        for pid in (several.popen.pid, *pids.values()):
            os.kill(pid, signal.SIGHUP)
        for line in (r"front-0 SIGHUP: keys", r"front-1 keys reloaded", r"INFO +SIGHUP: keys"):
            several.wait_for(line)
        with qwire.Client(several.target, api_key=key) as client:
            assert len(client.embed(["a"]).vectors) == 1
        assert several.pids() == pids
        assert several.popen.poll() is None
