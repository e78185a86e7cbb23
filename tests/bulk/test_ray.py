"""Parts that the actors of a Ray cluster on this machine make; `make test-ray` installs Ray."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qwire_server.corpus.local import LocalEngine
from qwire_server.settings import Settings
from support.machine_speed import hang_limit
from support.models import tiny_qwen3

pytest.importorskip("ray.data", reason="Ray is not installed: make test-ray")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.torch,
    pytest.mark.timeout(900),  # a cluster takes 10 s to start, a model 5 s more, if all is idle
    # Ray's own; it is the driver's process that is tested, and that is another one.
    pytest.mark.filterwarnings("default"),
]

ROOT = Path(__file__).parents[2]
TEXTS = [f"The {number}th sentence is about rain." for number in range(1000)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small random Qwen3."""
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(texts):
    Path("in.jsonl").write_text(
        "".join(json.dumps({"text": text, "key": f"k{at}"}) + "\n" for at, text in enumerate(texts))
    )


def start(*args, model):
    """`qwire embed --engine ray` in a process of its own."""
    command = [sys.executable, "-m", "qwire", "embed", "in.jsonl", "--engine", "ray", *args]
    paths = os.pathsep.join([*filter(None, sys.path), str(ROOT)])
    return subprocess.Popen(
        [*command, "--model", str(model), "--id-column", "key"],
        env={**os.environ, "PYTHONPATH": paths, "QWIRE_DTYPE": "float32"},
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*args, model):
    """The exit status, and what was said; Ray's own word on its log level is left out."""
    ran = reach(lambda: False, *args, model=model)
    said = [line for line in ran.said.splitlines() if "Set ray log level" not in line]
    return ran.returncode, "\n".join(said)


def reach(condition, *args, model):
    """A run for which the condition has come true, or one that has ended, with what it `said`.

    Ray gives a cluster 30 s to start, which is too little beside much other work: once more then.
    """
    for _ in range(5):
        ran = start(*args, model=model)
        deadline = time.monotonic() + hang_limit(300)
        while ran.poll() is None and not condition():
            assert time.monotonic() < deadline, "it did not come so far"
            time.sleep(0.01)
        if ran.poll() is None:
            return ran
        ran.said = ran.communicate()[1]
        if "no Ray cluster: " not in ran.said:
            return ran
    raise AssertionError(ran.said)


def kill(ran):
    assert ran.poll() is None, ran.said
    ran.kill()
    ran.communicate()


def start_with(load, *args):
    """The same around a `load` of the test's own, in a process of its own."""
    code = f"""
import sys
from qwire.cli import main
from qwire_server.corpus import cluster
{load}
cluster.Cluster.__init__.__defaults__ = (None, load)
sys.exit(main(["embed", "in.jsonl", "-o", "out", "--engine", "ray", *{args!r}]))
"""
    paths = os.pathsep.join([*filter(None, sys.path), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def parts(out):
    return sorted(path.name for path in out.glob("part-*.parquet"))


def check(table, texts, model):
    """Each row is there once, with its own id and its own vector."""
    table = table.sort_by("index")
    assert table.column("index").to_pylist() == list(range(len(texts)))
    assert table.column("id").to_pylist() == [f"k{at}" for at in range(len(texts))]
    found = np.array(table.column("vector").combine_chunks().flatten()).reshape(len(texts), -1)
    with LocalEngine(Settings(model=str(model), device="cpu", dtype="float32")) as engine:
        expected = np.array([item.embedding for item in engine.embed_stream(enumerate(texts))])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def actors_of(ran):
    """Process ids of the actors in the driver's cluster."""
    parents, actors = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            if (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                actors.append(int(folder.name))
        except OSError:  # noqa: PERF203  it has just ended
            continue
    return [actor for actor in actors if ran.pid in _ancestors(actor, parents)]


def _ancestors(process, parents):
    while process in parents:
        process = parents[process]
        yield process


def test_a_file_becomes_parts_and_one_file(folder, model):
    """Said of it: progress, a summary, and nothing of Ray's own."""
    write(TEXTS)
    status, err = run("-o", "out.parquet", "--part-rows", "100", "--actors", "2", model=model)
    assert status == 0, err
    assert err.splitlines()[-1].startswith("qwire embed: 1,000 texts, ")
    assert err.endswith(" tokens/s: out.parquet")
    assert "Warning" not in err
    table = pq.read_table("out.parquet")
    check(table, TEXTS, model)
    assert table.schema.metadata[b"qwire.input_type"] == b"document"
    assert names(folder) == ["in.jsonl", "out.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_driver_that_is_killed_is_gone_on_with(folder, model, seed):
    """What has its name stays as it is, and another model or input is refused."""
    kill_and_resume(folder, model, seed)


def kill_and_resume(folder, model, seed):
    lucky, out = random.Random(seed), folder / "out"
    write(TEXTS)
    args = ("-o", "out", "--part-rows", "50", "--quiet", "--resume")
    stamps = {}
    for _ in range(2):
        more = len(parts(out)) + 1 + lucky.randrange(4)
        kill(reach(lambda: len(parts(out)) >= more, *args, model=model))  # noqa: B023
        for part in json.loads((out / "_manifest.json").read_text())["parts"]:
            name = f"part-{part['number']:05}.parquet"
            found = (out / name).stat().st_mtime_ns
            assert stamps.setdefault(name, found) == found, "made again"
    status, err = run(*args, model=model)
    assert (status, err) == (0, "")
    check(pq.read_table(out), TEXTS, model)
    assert names(out) == ["_manifest.json", *parts(out)]


def test_a_run_goes_on_with_its_own_model_only(folder, model, tmp_path_factory):
    """Begun with one, killed; refused with another; and both engines agree on what it is."""
    out = folder / "out"
    write(TEXTS)
    args = ("-o", "out", "--part-rows", "50", "--resume")
    kill(reach(lambda: _recorded(out) >= 1, *args, model=model))
    other = tiny_qwen3(tmp_path_factory.mktemp("other") / "tiny-qwen3", seed=1)
    status, err = run(*args, model=other)
    assert status == 2, err
    assert "fingerprint was " in err
    assert "--resume goes on" in err
    assert "Traceback" not in err
    before = _recorded(out)
    ids, engine = ("--id-column", "key"), ("--engine", "local", "--model", str(model))
    local = subprocess.run(
        [sys.executable, "-m", "qwire", "embed", "in.jsonl", *args, *ids, *engine],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "QWIRE_DTYPE": "float32"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, local.stderr
    assert f"qwire embed: {1000 - 50 * before:,} texts" in local.stderr
    check(pq.read_table(out), TEXTS, model)
    stamps = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    status, err = run(*args, model=other)  # nothing is left to do
    assert status == 2, err
    assert "fingerprint was " in err
    status, err = run(*args, model=model)
    assert (status, err) == (0, "qwire embed: all 1,000 rows were there before: out")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == stamps


def _recorded(out):
    if not (out / "_manifest.json").exists():
        return 0
    return len(json.loads((out / "_manifest.json").read_text())["parts"])


def test_a_model_that_cannot_be_loaded_is_told(folder):
    write(TEXTS)
    status, err = run("-o", "out", model="./nowhere")
    assert status == 2
    assert "nowhere" in err
    assert err.count("\n") == 0
    assert names(folder) == ["in.jsonl"]


@pytest.mark.slow
def test_a_part_that_nobody_survives_ends_the_run(folder):
    """The model takes its process with it each time; the parts before it stay."""
    write([*TEXTS[:60], "poison", *TEXTS[:10]])
    ran = start_with(
        """
import os, signal
from support.serving import fake_model
from support.runners import FakeRunner

def load(settings):
    loaded = fake_model(FakeRunner())
    (bad,) = loaded.tokenizer.encode(["poison"]).ids
    def fail(batch):
        if any(ids.tolist() == bad.tolist() for ids in batch):
            os.kill(os.getpid(), signal.SIGKILL)
    loaded.runner.fails = fail
    return loaded
""",
        *("--part-rows", "20"),
    )
    err = ran.communicate(timeout=hang_limit(800))[1]
    assert ran.returncode == 1, err
    assert "3 actors died of rows 60 to 70" in err
    assert "60 rows saved in 3 of 4 parts in out (--resume goes on)" in err
    assert names(folder / "out") == ["_manifest.json", *parts(folder / "out")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_an_actor_that_dies_is_replaced(folder, model):
    """Its part is made from the beginning."""
    out, killed = folder / "out", set()
    write(TEXTS)
    ran = reach(lambda: len(parts(out)) >= 2, "-o", "out", "--part-rows", "50", model=model)
    with ran:
        for more in (2, 6):
            while len(parts(out)) < more:
                assert ran.poll() is None, ran.stderr.read()
                time.sleep(0.01)
            for actor in actors_of(ran):
                os.kill(actor, signal.SIGKILL)
                killed.add(actor)
        assert ran.wait(hang_limit(300)) == 0, ran.stderr.read()
    assert len(killed) == 2
    check(pq.read_table(out), TEXTS, model)
    assert names(out) == ["_manifest.json", *parts(out)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up in /proc")
def test_200_000_texts_need_no_more_memory_than_a_part(folder):
    """Their vectors are 800 MB; an actor holds a row group of them, and a stream's window."""
    write([f"line {number}" for number in range(200_000)])
    ran = start_with("from benchmarks.free_server import load_free as load")
    peaks = {}
    while ran.poll() is None:
        for process in [ran.pid, *actors_of(ran)]:
            try:
                status = Path(f"/proc/{process}/status").read_text()
            except OSError:  # it has just ended
                continue
            if "VmHWM:" in status:
                peaks[process] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        time.sleep(0.2)
    assert ran.returncode == 0, ran.stderr.read()
    ran.stderr.close()
    assert len(peaks) == 2, peaks
    assert max(peaks.values()) < 700, peaks  # of which Ray and pyarrow take most
    found = pq.read_table("out", columns=["index"]).column("index").to_pylist()
    assert sorted(found) == list(range(200_000))
