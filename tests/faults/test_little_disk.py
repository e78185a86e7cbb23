"""`qwire` where a file, a folder or standard output cannot be written: always a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.fake_process import Process
from support.keys import KeyFile

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from qwire.cli import main
sys.exit(main(sys.argv[2:]))
"""
TEXTS = [f"line {number}" for number in range(500)]


@pytest.fixture(scope="module")
def server():
    with Process() as process:
        yield process


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS))
    return path


def run(*args: object, limit: int = 2**40, **kwargs: object) -> tuple[int, str]:
    """Its exit status and its last line on stderr; files may grow to `limit` bytes."""
    kwargs = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL, **kwargs}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *map(str, args)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
        **kwargs,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize("limit", [0, 150, 3000])
@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.csv", "v.parquet", "parts/"])
def test_a_full_disk_ends_a_run_with_a_sentence_and_another_run_goes_on(
    server: Process, texts: Path, name: str, limit: int
):
    output = texts.parent / name
    target = ["--target", server.target, "--part-rows", "100"]
    if name in {"v.npy", "v.jsonl", "v.csv"}:
        target = target[:2]
    status, said = run("embed", texts, "-o", f"{texts.parent}/{name}", *target, limit=limit)
    assert status in {1, 2}
    assert "too large" in said or "failed" in said, said
    status, said = run("embed", texts, "-o", f"{texts.parent}/{name}", *target, "--resume")
    assert status == 0, said
    assert output.exists()
    if name == "v.npy":
        assert len(np.load(output)) == len(TEXTS)


@pytest.mark.parametrize("place", ["missing/v.npy", "in.txt/v.npy", "in.txt/v.jsonl", "in.txt/p/"])
def test_a_place_that_cannot_be_written_is_named(server: Process, texts: Path, place: str):
    output = f"{texts.parent}/{place}"
    status, said = run("embed", texts, "-o", output, "--target", server.target)
    assert status in {1, 2}
    assert "irectory" in said or "exists" in said


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.csv"])
def test_a_folder_in_the_place_of_the_output_is_refused_before_any_work(texts: Path, name: str):
    (texts.parent / name).mkdir()
    for more in ([], ["--overwrite"]):
        status, said = run("embed", texts, "-o", texts.parent / name, *more, "--target", "[::1]:1")
        assert status == 2
        assert "is a folder" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_output_is_one_sentence_of_every_verb(server: Process, texts: Path):
    file = KeyFile(texts.parent / "keys.toml")
    file.new("a")
    calls = {
        "embed": [texts, "-o", "-", "--target", server.target],
        "info": ["--target", server.target],
        "key": ["list", "--file", file.path],
    }
    for verb, args in calls.items():
        with Path("/dev/full").open("wb") as full:
            status, said = run(verb, *args, stdout=full)
        assert status == 1, said
        assert "No space left" in said


def test_a_pipe_that_nobody_reads_is_one_sentence(server: Process, texts: Path):
    file = KeyFile(texts.parent / "keys.toml")
    file.new("a")
    for args in (
        ["embed", texts, "-o", "-", "--target", server.target],
        ["key", "list", "--file", file.path],
    ):
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        reader.wait()
        status, said = run(*args, stdout=reader.stdin)
        reader.stdin.close()
        assert status == 1
        assert "whoever read standard output is gone" in said


def test_closed_standard_streams_are_a_sentence(server: Process, texts: Path):
    to = f"--target {server.target}"
    program = f"exec {sys.executable} -c 'import sys; from qwire.cli import main; sys.exit(main())'"
    for line in (
        f"embed - --format txt -o - {to} <&-",
        f"embed {texts} -o - {to} >&-",
        f"rerank q - {to} <&-",
    ):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{program} {line}"],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 2, (line, done.stderr)
        assert "is closed" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_what_a_ranking_is_read_from_and_a_key_written_to_is_named(server: Process, tmp_path: Path):
    status, said = run("rerank", "q", tmp_path, "--target", server.target)
    assert status in {1, 2}
    assert str(tmp_path) in said
    status, said = run("key", "new", "a", "--file", tmp_path / "missing" / "keys.toml")
    assert status in {1, 2}
    assert "missing" in said
    status, said = run("key", "new", "a", "--file", tmp_path / "keys.toml", limit=10)
    assert status in {1, 2}
    assert "too large" in said
    assert not list(tmp_path.iterdir())
