"""The server as its supervisor sees it: a process with signals, lines and an exit status."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from support.keys import KeyFile
from support.machine_speed import hang_limit
from support.models import tiny_qwen3
from support.serving import fake_serving

pytestmark = pytest.mark.timeout(60)

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("QWIRE_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "qwire_server", "--http-port", "off", *arguments]


def refused(*arguments: str, **environment: str) -> str:
    """What a server that cannot start says; it must be one line, and the status 2."""
    done = subprocess.run(
        command(*arguments),
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=hang_limit(50),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("qwire serve: ")]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return said[0]


class Process:
    """A running server and the lines it wrote."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self.port = 0
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stderr or ():
            self.lines.append(line.rstrip())
            if found := re.search(r" ready: .* grpc 127\.0\.0\.1:(\d+) ", line):
                self.port = int(found[1])
                self._ready.set()
        self._ready.set()

    def wait_ready(self) -> None:
        assert self._ready.wait(hang_limit(50))
        assert self.port, "\n".join(self.lines)

    def ended(self) -> int:
        status = self.popen.wait(hang_limit(20))
        self._reader.join(hang_limit(5))
        return status


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[Process]:
    popen = subprocess.Popen(
        command("--grpc-port", "0", *arguments),
        env=ENVIRONMENT | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    try:
        process.wait_ready()
        yield process
    finally:
        popen.kill()
        popen.wait()
        assert popen.stderr
        process._reader.join(hang_limit(5))
        popen.stderr.close()


def test_sigterm_answers_what_is_open_and_exits_with_0(folder: Path):
    """A stream is told DRAINING, read to its half-close, and answered."""
    with started("--model", str(folder)) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = pb_grpc.EmbeddingStub(channel)
            finish = threading.Event()
            told = threading.Event()

            def messages() -> Iterator[pb.EmbedStreamRequest]:
                yield pb.EmbedStreamRequest(ids=[1], texts=["before"])
                assert told.wait(hang_limit(10))
                yield pb.EmbedStreamRequest(ids=[2], texts=["after the notice"])
                finish.wait(hang_limit(10))

            answered: list[int] = []
            for reply in stub.EmbedStream(messages()):
                answered += reply.ids
                if 1 in reply.ids:
                    server.popen.send_signal(signal.SIGTERM)
                if reply.notice == pb.NOTICE_DRAINING:
                    told.set()
                if 2 in reply.ids:
                    finish.set()
            assert answered == [1, 2]
        assert server.ended() == 0
        assert any("stopping: 1 calls open" in line for line in server.lines)


def test_http_and_grpc_are_one_process_with_one_end(folder: Path):
    """Uvicorn leaves SIGTERM to the server, and the line that says "ready" names both ports."""
    with started("--model", str(folder), "--http-port", "0") as server:
        url = re.search(r" and http (127\.0\.0\.1:\d+) ", "\n".join(server.lines))
        assert url
        body = json.dumps({"input": ["a", "b"]}).encode()
        asked = urllib.request.Request(
            f"http://{url[1]}/v1/embeddings", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=hang_limit(20)) as reply:
            assert len(json.loads(reply.read())["data"]) == 2
        server.popen.send_signal(signal.SIGTERM)
        assert server.ended() == 0


def test_a_second_signal_exits_at_once_and_says_how_many_were_cut(folder: Path):
    with started("--model", str(folder)) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            release = threading.Event()

            def messages() -> Iterator[pb.EmbedStreamRequest]:
                yield pb.EmbedStreamRequest(ids=[1], texts=["a"])
                release.wait(hang_limit(20))

            call = pb_grpc.EmbeddingStub(channel).EmbedStream(messages())
            assert list(next(call).ids) == [1]
            server.popen.send_signal(signal.SIGTERM)
            assert next(call).notice == pb.NOTICE_DRAINING
            server.popen.send_signal(signal.SIGTERM)
            assert server.ended() == 1
            release.set()
        assert any("second signal: 1 calls are cut" in line for line in server.lines)


async def test_a_port_taken_by_another_server_is_an_error_that_names_the_flag(folder: Path):
    """grpc.aio would bind it a second time in silence."""
    async with fake_serving() as running:
        port = str(running.server.port)
        said = await asyncio.to_thread(refused, "--model", str(folder), "--grpc-port", port)
    assert "--grpc-port" in said
    assert port in said


def test_a_port_taken_by_another_program_is_an_error_too(folder: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert "--grpc-port" in refused("--model", str(folder), "--grpc-port", port)


def test_a_taken_http_port_names_its_own_flag(folder: Path):
    """8000 is the default of other servers too."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = refused("--model", str(folder), "--grpc-port", "0", "--http-port", port)
    assert "--http-port" in said
    assert port in said


def test_what_cannot_start_says_in_one_line_what_to_do(folder: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    assert "no such folder" in refused("--model", "/no/such/folder", "--grpc-port", "0")
    assert "config.json" in refused("--model", str(broken), "--grpc-port", "0")


def test_unknown_flags_and_variables_refuse_to_start():
    assert "--modle" in refused("--modle", "demo")
    assert "did you mean QWIRE_MODEL?" in refused(QWIRE_MODLE="demo")
    assert "--batch-tokens" in refused("--batch-tokens", "many")


def test_json_logs_are_one_object_a_line_and_ctrl_c_is_a_clean_stop(folder: Path):
    with started("--model", str(folder), "--log-format", "json", "--log-level", "debug") as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            request = pb.EmbedRequest(texts=["a private text"])
            metadata = [("x-request-id", "r-7")]
            pb_grpc.EmbeddingStub(channel).Embed(request, metadata=metadata)
        server.popen.send_signal(signal.SIGINT)
        assert server.ended() == 0
        entries = [json.loads(line) for line in server.lines]
    requests = [entry for entry in entries if entry["message"] == "request"]
    assert [r["request_id"] for r in requests] == ["r-7"]
    assert not any("private" in line for line in server.lines)


def test_settings_come_from_flags_variables_and_a_file_in_that_order(folder: Path, tmp_path: Path):
    file = tmp_path / "qwire.toml"
    file.write_text('model = "nowhere"\nbatch_tokens = 77\nmax_texts = 5\nbulk_share = 0.5\n')
    with (
        started(
            "--config", str(file), "--max-texts", "7", QWIRE_MODEL=str(folder), QWIRE_MAX_TEXTS="6"
        ) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        told = pb_grpc.EmbeddingStub(channel).Describe(pb.DescribeRequest())
    assert told.model == "tiny-qwen3"
    assert told.limits.texts_per_request == 7
    assert told.limits.tokens_per_batch == 77


def test_sighup_reads_keys_again_and_never_ends_the_server(folder: Path, tmp_path: Path):
    """From its first line on, also while the model loads; a drain is not begun."""
    file = KeyFile(tmp_path / "keys.toml")
    key = file.new("a")
    arguments = ("--model", str(folder), "--api-keys-file", str(file.path))
    popen = subprocess.Popen(
        command("--grpc-port", "0", *arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    server = Process(popen)
    try:
        while not server.lines:
            time.sleep(0.01)
        while not server._ready.is_set():
            popen.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        server.wait_ready()
        # The file's time says that nothing changed for long, so no look of its own is waited for.
        popen.send_signal(signal.SIGHUP)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = pb_grpc.EmbeddingStub(channel)
            metadata = [("authorization", f"Bearer {key}")]
            assert stub.Embed(pb.EmbedRequest(texts=["a"]), metadata=metadata).vectors.rows == 1
        ends = time.monotonic() + 30
        while not any("keys reloaded" in line for line in server.lines):
            assert time.monotonic() < ends, server.lines
            time.sleep(0.05)
        assert popen.poll() is None
        assert not any("stopping" in line for line in server.lines)
    finally:
        popen.kill()
        popen.wait()
        server._reader.join(5)
        assert popen.stderr
        popen.stderr.close()
