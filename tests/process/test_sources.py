"""A model comes from where it can be had, in one process after the other, over a hub that fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from support.fake_hub import COMMIT, MODEL, FakeHub, Fault, fake_hub
from support.machine_speed import hang_limit
from support.models import tiny_qwen3

pytestmark = pytest.mark.timeout(60)

CHUNK = 10 * 1024 * 1024  # huggingface_hub keeps whole ones of a connection that breaks
BROKEN_AT = 15_000_000  # within the second chunk of the weights
FIND = """
import json, sys
from qwire_server.checkpoint import source
model, revision, kind = sys.argv[1:]
found = source.find(model, revision or None, kind)
print(json.dumps([str(found.folder), found.commit]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 with a table of 26 MB, and files that nobody needs."""
    folder = tiny_qwen3(tmp_path_factory.mktemp("hub") / "model", vocab_size=100_000)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"another format")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[FakeHub]:
    with fake_hub(folder) as hub:
        yield hub


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """Of a process that has this hub, an empty cache and little patience."""
    foreign = ("QWIRE_", "HF_", "HUGGINGFACE_", "MODELSCOPE_", "TQDM_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "MODELSCOPE_ENDPOINT": hub.url,
        "MODELSCOPE_CACHE": str(tmp_path / "ms"),
        "MODELSCOPE_HOME": str(tmp_path / "ms-home"),
    }


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=hang_limit(50),
        check=False,
    )


def found(environment: dict[str, str], revision: str = "", kind: str = "hub") -> tuple[Path, str]:
    """The folder and the commit that a process of its own finds."""
    done = run(environment, "-c", FIND, MODEL, revision, kind)
    assert done.returncode == 0, done.stderr
    assert "%|" not in done.stderr, "a progress bar without a terminal"
    folder, commit = json.loads(done.stdout)
    return Path(folder), commit


def refused(environment: dict[str, str], *arguments: str) -> str:
    """The one line of a server that cannot start, which ends with status 2."""
    done = run(
        environment, "-m", "qwire_server", "--grpc-port", "0", "--http-port", "off", *arguments
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("qwire serve: ")]
    return line


def test_a_model_comes_from_hf_endpoint_once_and_then_from_the_cache(
    hub: FakeHub, environment: dict[str, str]
):
    folder, commit = found(environment)
    assert commit == COMMIT
    needed = {"config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"}
    assert needed <= hub.fetched()
    assert not {"pytorch_model.bin", "onnx/model.onnx"} & hub.fetched()
    hub.requests.clear()
    assert found(environment) == (folder, commit)
    assert not hub.fetched()
    hub.requests.clear()
    assert found(environment | {"HF_HUB_OFFLINE": "1"}) == (folder, commit)
    assert not hub.requests
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert found(environment | nobody) == (folder, commit)


def test_a_revision_is_asked_for_and_named_by_its_commit(hub: FakeHub, environment: dict[str, str]):
    other = COMMIT[::-1]
    hub.revisions["v1"] = other
    assert found(environment, "v1")[1] == other
    said = refused(environment, "--model", MODEL, "--revision", "v2")
    assert f"{MODEL} has no revision 'v2' at {hub.url}: check --revision" in said


@pytest.mark.parametrize("stalls", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_download_that_breaks_or_stalls_goes_on_where_it_was(
    hub: FakeHub, environment: dict[str, str], folder: Path, stalls: bool
):
    hub.faults["model.safetensors"] = Fault(BROKEN_AT, stalls=stalls)
    got, _ = found(environment)
    assert hub.asked("model.safetensors") == ["", f"bytes={CHUNK}-"]
    name = "model.safetensors"
    assert (got / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow  # the hub's client waits a second before each of five retries
def test_a_hub_that_never_ends_a_file_is_given_up_and_the_whole_files_are_kept(
    hub: FakeHub, environment: dict[str, str]
):
    hub.faults["model.safetensors"] = Fault(1000, times=100)
    said = refused(environment, "--model", MODEL)
    assert "not, or not as a whole, in the local cache" in said
    assert "HF_HUB_OFFLINE" in refused(environment | {"HF_HUB_OFFLINE": "1"}, "--model", MODEL)
    hub.faults.clear()
    hub.requests.clear()
    found(environment)
    assert hub.fetched() == {"model.safetensors"}


def test_an_unreachable_hub_is_told_with_every_way_out(environment: dict[str, str]):
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    said = refused(environment | nobody, "--model", MODEL)
    assert MODEL in said
    assert "http://127.0.0.1:9" in said
    for way in ("HF_ENDPOINT", "--model-source modelscope", "local folder", "--model demo"):
        assert way in said


def test_modelscope_gives_the_same_files_and_a_later_process_goes_on_where_one_broke(
    hub: FakeHub, environment: dict[str, str], folder: Path
):
    hub.faults["model.safetensors"] = Fault(BROKEN_AT)
    at_once = environment | {"MODELSCOPE_DOWNLOAD_MAX_RETRIES": "0"}
    said = refused(at_once, "--model", MODEL, "--model-source", "modelscope")
    assert "could not be had from ModelScope" in said
    assert "--model demo" in said
    got, commit = found(environment, kind="modelscope")
    assert hub.asked("model.safetensors") == ["", f"bytes={BROKEN_AT}-"]
    name = "model.safetensors"
    assert (got / name).read_bytes() == (folder / name).read_bytes()
    assert not hub.asked("pytorch_model.bin")
    assert not commit  # the client keeps no commit, so the content names the revision


@pytest.mark.slow  # its client tries for eight seconds
def test_without_a_network_modelscope_is_its_cache(hub: FakeHub, environment: dict[str, str]):
    folder, _ = found(environment, kind="modelscope")
    nobody = environment | {"MODELSCOPE_ENDPOINT": "http://127.0.0.1:9"}
    assert found(nobody, kind="modelscope") == (folder, "")


@pytest.mark.slow  # a process for one sentence
def test_modelscope_says_which_model_it_does_not_have(environment: dict[str, str]):
    said = refused(environment, "--model", "Acme/None", "--model-source", "modelscope")
    assert "ModelScope has no model 'Acme/None'" in said


@pytest.mark.timeout(120)
def test_whoever_calls_while_the_model_is_downloaded_is_told_how_far_it_is(
    hub: FakeHub, environment: dict[str, str]
):
    hub.faults["model.safetensors"] = Fault(BROKEN_AT, stalls=True)
    environment |= {"HF_HUB_DOWNLOAD_TIMEOUT": "100"}
    command = [sys.executable, "-m", "qwire_server", "--model", MODEL, "--grpc-port", "0"]
    command += ["--http-port", "off", "--dtype", "float32"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        lines: list[str] = []
        port, ready = _Line(r"listening on grpc \S+:(\d+)"), _Line(" ready: ")
        reader = threading.Thread(target=_read, args=(server, lines, [port, ready]))
        reader.start()
        try:
            target = f"127.0.0.1:{port.wait()[1]}"
            with grpc.insecure_channel(target) as channel:
                told = _told_while_loading(channel)
            assert re.search(r"being downloaded: 1[01] of 26 MB \(\d+ %\): try again", told)
            hub.released.set()
            line = ready.wait().string
            assert f"{MODEL} (cpu, float32" in line
            assert re.search(r"\(loaded in \d+\.\d s, 24\.\d MiB of weights\)", line)
            assert any(f"downloaded {MODEL}: 26 of 26 MB (100 %)" in line for line in lines)
            server.send_signal(signal.SIGTERM)
            assert server.wait(hang_limit(20)) == 0
        finally:
            server.kill()
            reader.join()
            assert "Traceback" not in "".join(lines)


def _told_while_loading(channel: grpc.Channel) -> str:
    """What health and a call say alike, once some of the weights are here."""
    health, stub = health_pb2_grpc.HealthStub(channel), pb_grpc.EmbeddingStub(channel)
    while True:
        answer, call = health.Check.with_call(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        reason = dict(call.trailing_metadata())["qwire-reason"]
        if " of 26 MB" in reason and not reason.partition(": ")[2].startswith("0 of"):
            break
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Describe(pb.DescribeRequest())
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refusal.value.details() == reason
    return str(reason)


class _Line:
    """The first line that a pattern is found in."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._seen = threading.Event()
        self.match: re.Match[str] | None = None

    def offer(self, line: str) -> None:
        if not self.match and (found := re.search(self._pattern, line)):
            self.match = found
            self._seen.set()

    def end(self) -> None:
        self._seen.set()

    def wait(self) -> re.Match[str]:
        assert self._seen.wait(hang_limit(100))
        assert self.match, "the server ended"
        return self.match


def _read(server: subprocess.Popen[Any], lines: list[str], awaited: list[_Line]) -> None:
    for line in server.stderr or ():
        lines.append(line)
        for one in awaited:
            one.offer(line)
    for one in awaited:
        one.end()
