"""`qwire embed`: files in, vectors out, against servers that run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from qwire import Client
from qwire.cli import main
from support.fake_process import Process
from support.fake_server import Refusal, unit_vector, unit_vectors
from support.machine_speed import hang_limit

TEXTS = [f"line {number}" for number in range(200)]
MANY = [f"line {number}" for number in range(20_000)]  # seconds of work for a fake process


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, texts):
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return str(path)


def embed(target, *args):
    """In this process; the exit status."""
    return main(["embed", "--target", target, *map(str, args)])


def start(target, *args, **options):
    """In a process of its own, where its signals are its own."""
    command = [sys.executable, "-m", "qwire", "embed", "--target", target, *map(str, args)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def grow(path, size):
    """Wait until a file has so many bytes."""
    deadline = time.monotonic() + hang_limit(15)
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path.name} does not grow"
        time.sleep(0.005)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_text_file_becomes_an_array_in_its_order(server, folder, capsys):
    write(folder / "in.txt", TEXTS)
    assert embed(server.target, "in.txt", "-o", "out.npy") == 0
    found = np.load("out.npy")
    np.testing.assert_allclose(found, unit_vectors(TEXTS, 16), rtol=1e-6)
    assert found.dtype == np.float32
    assert names(folder) == ["in.txt", "out.npy"]
    err = capsys.readouterr().err
    assert err.startswith("qwire embed: 200 texts, ")
    assert err.endswith("tokens/s: out.npy\n")


def test_json_lines_become_json_lines(server, folder):
    """The vector is the float32 to its last bit; the server's x's are cut."""
    rows = [{"body": "one", "key": "α"}, {"body": "xx two", "key": 7}]
    write(folder / "in.jsonl", map(json.dumps, rows))
    args = ("in.jsonl", "-o", "out.jsonl", "--field", "body", "--id-field", "key")
    assert embed(server.target, *args) == 0
    first, second = lines(folder / "out.jsonl")
    vector = first.pop("vector")
    assert np.array_equal(np.array(vector, np.float32), unit_vector("one", 16))
    assert first == {"index": 0, "id": "α", "tokens": 3, "truncated": 0}
    assert (second["id"], second["truncated"]) == (7, 2)


def test_a_text_that_failed_keeps_its_place(server, folder, capsys):
    """A row of NaN in an array, and a line in the file of errors."""
    server.refused_texts["bad"] = Refusal(None, "TEXT_TOO_LARGE", "300 bytes are too many")
    (folder / "in.txt").write_bytes(b"one\n\xff\nbad\n\xff\xfe\nfive\n")
    assert embed(server.target, "in.txt", "-o", "out.npy") == 1
    found = np.load("out.npy")
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, True, False]
    np.testing.assert_allclose(found[4], unit_vector("five", 16), rtol=1e-6)
    errors = lines(folder / "out.npy.errors.jsonl")
    assert [(each["index"], each["line"], each["code"]) for each in errors] == [
        (1, 2, "INVALID_REQUEST"),
        (2, 3, "TEXT_TOO_LARGE"),
        (3, 4, "INVALID_REQUEST"),
    ]
    assert [each["error"] for each in errors[::2]] == [
        "byte 0 of the line is not UTF-8",
        "byte 0 of the line is not UTF-8",
    ]
    assert "3 texts failed: out.npy.errors.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.txt", "one\n\n   \nfour\n\n"),
        (
            "in.jsonl",
            '{"text": "one"}\n\n{"text": ""}\n{"text": "   "}\n{"text": "four"}\n{"text": ""}',
        ),
        ("in.csv", 'text\none\n\n""\n"   "\nfour\n""\n'),
    ],
)
def test_a_blank_text_is_embedded_as_the_client_embeds_it(server, folder, name, content):
    """And stays in its place: row n of a .txt is its line n + 1."""
    (folder / name).write_text(content)
    assert embed(server.target, name, "-o", "out.npy") == 0
    texts = ["one", "", "   ", "four", ""]
    with Client(server.target) as client:
        np.testing.assert_array_equal(np.load("out.npy"), client.embed_documents(texts))
    np.testing.assert_allclose(np.load("out.npy"), unit_vectors(texts, 16), rtol=1e-6)
    assert names(folder) == [name, "out.npy"]


def test_a_text_that_failed_is_an_object_with_an_error(server, folder):
    write(folder / "in.jsonl", ['{"text": "one", "id": "a"}', '{"text": null, "id": "b"}', "{"])
    args = ("in.jsonl", "-o", "out.jsonl", "--id-field", "id", "--errors", "why.jsonl")
    assert embed(server.target, *args) == 1
    assert lines(folder / "out.jsonl")[1:] == [
        {"index": 1, "id": "b", "vector": None, "error": "field 'text' is null"},
        {
            "index": 2,
            "vector": None,
            "error": "invalid JSON: Expecting property name enclosed in double quotes at "
            "character 1",
        },
    ]
    assert len(lines(folder / "why.jsonl")) == 2


def test_an_empty_input_is_an_empty_array(server, folder):
    write(folder / "in.txt", [])
    assert embed(server.target, "in.txt", "-o", "out.npy", "--dimensions", 4) == 0
    assert np.load("out.npy").shape == (0, 4)


def test_float16_halves_the_array(server, folder):
    write(folder / "in.txt", TEXTS)
    assert embed(server.target, "in.txt", "-o", "out.npy", "--encoding", "float16") == 0
    assert np.array_equal(np.load("out.npy"), unit_vectors(TEXTS, 16).astype(np.float16))


def test_an_earlier_result_stays_unless_told(server, folder, capsys):
    write(folder / "in.txt", TEXTS)
    for name in ("out.npy", "out.npy.partial", "out.npy.errors.jsonl"):
        (folder / name).write_text("precious")
        assert embed(server.target, "in.txt", "-o", "out.npy") == 2
        assert f"{name} exists" in capsys.readouterr().err
        assert (folder / name).read_text() == "precious"
        if name != "out.npy.errors.jsonl":
            (folder / name).unlink()
    (folder / "out.npy").write_text("old")
    assert embed(server.target, "in.txt", "-o", "out.npy", "--overwrite") == 0
    assert np.load("out.npy").shape == (200, 16)
    assert names(folder) == ["in.txt", "out.npy"]


def test_a_run_that_writes_nothing_leaves_nothing(folder, capsys):
    """And does not take the earlier result away."""
    write(folder / "in.txt", TEXTS)
    (folder / "out.npy").write_text("precious")
    assert embed("localhost:1", "in.txt", "-o", "out.npy", "--overwrite") == 1
    assert capsys.readouterr().err.startswith("qwire embed: nothing answers at localhost:1")
    assert (folder / "out.npy").read_text() == "precious"
    assert names(folder) == ["in.txt", "out.npy"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("in.txt", "-o", "out.txt"), "must be .npy, .jsonl, .csv, .parquet, a folder or -"),
        (("in.doc", "-o", "out.npy"), "say --format txt, jsonl, csv, tsv, parquet"),
        (("-", "-o", "out.npy"), "say --format"),
        (("no.txt", "-o", "out.npy"), "cannot be read"),
        (("in.txt", "-o", "no/out.npy"), "cannot be written"),
        (("in.jsonl", "-o", "in.jsonl", "--overwrite"), "is the input"),
        (("in.txt", "-o", "out.npy", "--dimensions", "0"), "dimensions must be"),
    ],
)
def test_wrong_usage_is_said_in_one_line(server, folder, capsys, args, words):
    write(folder / "in.txt", TEXTS)
    write(folder / "in.jsonl", ['{"text": "a"}'])
    assert embed(server.target, *args) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert names(folder) == ["in.jsonl", "in.txt"]


def test_the_array_is_what_the_client_gives(demo_server, folder):
    texts = [f"The {number}th sentence is about rain." for number in range(150)]
    write(folder / "in.txt", texts)
    assert embed(demo_server, "in.txt", "-o", "out.npy", "--quiet") == 0
    with Client(demo_server) as client:
        expected = client.embed_documents(texts)
    np.testing.assert_allclose(np.load("out.npy"), expected, atol=1e-5)


def test_the_options_reach_the_model(qwen_server, folder):
    """Prompt, instruction, dimensions and truncation are those of the client."""
    texts = ["how long is a refund?", "word " * 600]
    write(folder / "in.txt", texts)
    words = {"input_type": "query", "instruction": "Find it", "dimensions": 32}
    args = [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]
    assert embed(qwen_server, "in.txt", "-o", "out.npy", "--truncate=start", *args) == 0
    with Client(qwen_server) as client:
        expected = client.embed(texts, truncate="start", **words).vectors
    np.testing.assert_allclose(np.load("out.npy"), expected, atol=1e-5)
    assert embed(qwen_server, "in.txt", "-o", "refused.npy", "--truncate=none", *args) == 1
    assert lines(folder / "refused.npy.errors.jsonl")[0]["code"] == "TEXT_TOO_LONG"


def test_a_pipe_goes_through(server):
    """Standard input to standard output; a label of progress would break the JSON."""
    ran = start(
        server.target, "-", "--format=txt", "-o-", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, err = ran.communicate("\ufeffone\r\ntwo")
    assert ran.returncode == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["index"] for each in found] == [0, 1]
    for each, text in zip(found, ["one", "two"], strict=True):
        assert np.array_equal(np.array(each["vector"], np.float32), unit_vector(text, 16))


def test_a_reader_that_leaves_ends_the_run(server, folder):
    """As `| head -1` does."""
    write(folder / "in.txt", MANY)
    with start(server.target, "in.txt", "-o-", stdout=subprocess.PIPE) as ran:
        assert ran.stdout.readline().startswith('{"index": 0')
        ran.stdout.close()
        assert ran.wait(hang_limit(15)) == 1
        err = ran.stderr.read()
    assert "standard output is gone" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("suffix", ["npy", "jsonl"])
def test_ctrl_c_leaves_a_valid_partial_result(folder, suffix):
    write(folder / "in.txt", MANY)
    partial = folder / f"out.{suffix}.partial"
    with Process() as server, start(server.target, "in.txt", "-o", f"out.{suffix}") as ran:
        grow(partial, 20_000)
        ran.send_signal(signal.SIGINT)
        assert ran.wait(hang_limit(15)) == 130
        err = ran.stderr.read()
    if suffix == "npy":
        found = np.load(partial)
        assert partial.stat().st_size == 128 + found.nbytes
    else:
        found = np.array([each["vector"] for each in lines(partial)], np.float32)
    assert 0 < len(found) < len(MANY)
    np.testing.assert_allclose(found, unit_vectors(MANY[: len(found)], 16), rtol=1e-6)
    saved = f"{len(found):,} rows saved in {partial.name} (--resume goes on)"
    assert err == f"qwire embed: interrupted; {saved}\n"
    assert not (folder / f"out.{suffix}").exists()


def test_ctrl_c_while_the_input_is_awaited(server, folder):
    with start(server.target, "-", "--format=txt", "-oout.npy", stdin=subprocess.PIPE) as ran:
        grow(folder / "out.npy.partial", 128)  # it reads now
        ran.send_signal(signal.SIGINT)
        assert ran.wait(hang_limit(15)) == 130
        assert ran.stderr.read() == "qwire embed: interrupted; nothing was written\n"
    assert names(folder) == []


def test_a_kill_leaves_an_array_that_loads(folder):
    """Nobody says goodbye: the header names the rows of a moment ago."""
    write(folder / "in.txt", MANY)
    partial = folder / "out.npy.partial"
    with Process() as server, start(server.target, "in.txt", "-o", "out.npy") as ran:
        grow(partial, 20_000)
        ran.kill()
    found = np.load(partial)
    assert len(found) >= 256
    np.testing.assert_allclose(found, unit_vectors(MANY[: len(found)], 16), rtol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="another process is given the limit")
@pytest.mark.parametrize("suffix", ["npy", "jsonl"])
def test_a_full_disk_leaves_whole_rows(server, folder, suffix):
    """A limit on the size of files stands in for it: the write that meets it takes a part."""
    import resource  # noqa: PLC0415  not on Windows

    write(folder / "in.txt", TEXTS)
    result = f"out.{suffix}"
    with start(server.target, "in.txt", "-o", result) as ran:
        resource.prlimit(ran.pid, resource.RLIMIT_FSIZE, (4100, 4100))
        assert ran.wait(hang_limit(15)) == 1
        err = ran.stderr.read()
    partial = folder / f"{result}.partial"
    rows = len(np.load(partial)) if suffix == "npy" else len(lines(partial))
    assert f"File too large; {rows} rows saved in {partial.name}" in err
    assert rows == 62 or suffix == "jsonl"  # 128 bytes of header, 64 a row
    assert embed(server.target, "in.txt", "-o", result, "--resume") == 0


def test_a_server_that_restarts_is_survived(folder):
    texts = MANY[:5000]
    write(folder / "in.txt", texts)
    with Process() as server, start(server.target, "in.txt", "-o", "out.npy") as ran:
        grow(folder / "out.npy.partial", 20_000)
        server.kill_and_start()
        assert ran.wait(hang_limit(15)) == 0, ran.stderr.read()
    np.testing.assert_allclose(np.load("out.npy"), unit_vectors(texts, 16), rtol=1e-6)


def test_another_model_ends_the_run_and_keeps_what_is_done(folder):
    write(folder / "in.txt", MANY)
    partial = folder / "out.npy.partial"
    with Process() as server, start(server.target, "in.txt", "-o", "out.npy") as ran:
        grow(partial, 20_000)
        server.fingerprint = "another"
        server.kill_and_start()
        assert ran.wait(hang_limit(15)) == 1
        err = ran.stderr.read()
    assert "the model behind the target changed" in err
    assert f"{len(np.load(partial)):,} rows saved in out.npy.partial" in err


def test_a_terminal_sees_one_line_rewritten(folder):
    """With the part that is done and the time that is left."""
    write(folder / "in.txt", MANY[:10_000])
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qwire", "embed", "in.txt", "-o", "out.npy", "--target"]
    with Process() as server:
        subprocess.run([*command, server.target], stderr=theirs, check=True)
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    assert seen.count("\n") == 1
    *_, last = seen.partition("\r")[2].split(" left")[0].split(", ")
    assert " %, " in seen
    assert last.replace(":", "").isdigit()


def test_a_vector_of_another_length_never_gets_into_the_array(server, folder, capsys):
    async def lie(requests, context):
        server.dim = 8
        async for reply in server.answer_each(requests, context):
            yield reply

    server.stream = lie
    write(folder / "in.txt", TEXTS)
    assert embed(server.target, "in.txt", "-o", "out.npy") == 1
    assert "text 0 got a vector of 8 values, not 16" in capsys.readouterr().err
    assert names(folder) == ["in.txt"]


@pytest.mark.parametrize(("suffix", "blow"), [("npy", signal.SIGINT), ("jsonl", signal.SIGKILL)])
def test_a_run_that_broke_off_is_resumed(folder, capsys, suffix, blow):
    """Every third text is bad: the errors of both runs are in one file, each once."""
    texts = [text.encode() if number % 3 else b"\xff" for number, text in enumerate(MANY)]
    (folder / "in.txt").write_bytes(b"\n".join(texts))
    result = folder / f"out.{suffix}"
    partial = folder / f"out.{suffix}.partial"
    with Process() as server:
        with start(server.target, "in.txt", "-o", result) as ran:
            grow(partial, 20_000)
            ran.send_signal(blow)
        done = json.loads((folder / f"{partial.name}.json").read_text())["rows"]
        assert embed(server.target, "in.txt", "-o", result) == 2
        assert "--resume to go on" in capsys.readouterr().err
        assert embed(server.target, "in.txt", "-o", result, "--resume") == 1
    err = capsys.readouterr().err
    assert f"qwire embed: {len(MANY) - done:,} texts, " in err
    assert f"{len(MANY[::3]):,} texts failed" in err
    if suffix == "npy":
        found = np.load(result)
    else:
        nothing = [None] * 16
        found = np.array([each["vector"] or nothing for each in lines(result)], np.float32)
    assert np.isnan(found[::3]).all()
    for at in (1, 2):
        np.testing.assert_allclose(found[at::3], unit_vectors(MANY[at::3], 16), rtol=1e-6)
    errors = lines(folder / f"{result.name}.errors.jsonl")
    assert [each["index"] for each in errors] == list(range(0, len(MANY), 3))
    assert names(folder) == ["in.txt", result.name, f"{result.name}.errors.jsonl"]


@pytest.fixture
def done(server, folder, capsys):
    """Rows of a run that broke off early, because the model changed."""

    async def change(requests, context):
        async for reply in server.answer_each(requests, context):
            if any(number >= 100 for number in reply.ids):
                reply.fingerprint = "another"
            yield reply

    server.stream = change
    write(folder / "in.txt", TEXTS)
    assert embed(server.target, "in.txt", "-o", "out.npy") == 1
    server.stream = server.answer_each
    rows = len(np.load("out.npy.partial"))
    assert capsys.readouterr().err.endswith(
        f" {rows} row{'s'[: rows != 1]} saved in out.npy.partial (--resume goes on)\n"
    )
    return rows


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--dimensions", "4"), "dimensions was None in the run before and is 4 now"),
        (("--format", "jsonl"), "format was 'txt' in the run before and is 'jsonl' now"),
        (("--errors", "why.jsonl"), None),
    ],
)
def test_a_resumed_run_has_the_same_settings(server, done, capsys, args, words):
    """But where errors go is nobody's business while there are none."""
    status = embed(server.target, "in.txt", "-o", "out.npy", "--resume", *args)
    assert status == (2 if words else 0)
    assert (words or f"qwire embed: {200 - done} texts") in capsys.readouterr().err
    found = np.load("out.npy.partial" if words else "out.npy")
    assert found.shape == (done if words else 200, 16)


def test_a_resumed_run_has_the_same_model(server, done, capsys):
    server.fingerprint = "another"
    assert embed(server.target, "in.txt", "-o", "out.npy", "--resume") == 2
    assert "fingerprint was 'fake-1' in the run before" in capsys.readouterr().err


@pytest.mark.parametrize("change", [lambda texts: ["x", *texts[1:]], lambda texts: texts[:-1]])
def test_a_resumed_run_has_the_same_input(server, done, folder, capsys, change):
    write(folder / "in.txt", change(TEXTS[:done]))
    assert embed(server.target, "in.txt", "-o", "out.npy", "--resume") == 2
    assert "the beginning of the input is not that of the run before" in capsys.readouterr().err
    assert np.load("out.npy.partial").shape == (done, 16)


def test_a_partial_result_that_was_changed_is_not_resumed(server, done, folder, capsys):
    (folder / "out.npy.partial").write_bytes(b"")
    assert embed(server.target, "in.txt", "-o", "out.npy", "--resume") == 2
    assert "is not what the run before left" in capsys.readouterr().err


def test_resume_may_always_be_said(server, done, folder):
    """An input that grew goes on; nothing to resume is a beginning; what is complete stays."""
    write(folder / "in.txt", [*TEXTS, "more"])
    assert embed(server.target, "in.txt", "-o", "out.npy", "--resume") == 0
    np.testing.assert_allclose(np.load("out.npy")[200], unit_vector("more", 16), rtol=1e-6)
    assert embed(server.target, "in.txt", "-o", "new.npy", "--resume") == 0
    assert embed(server.target, "in.txt", "-o", "new.npy", "--resume") == 2


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_memory_does_not_grow_with_the_file(folder, monkeypatch):
    """200,000 texts would be 800 MB of vectors; what 2,000 need is what they need."""
    from benchmarks.process import ServerProcess  # noqa: PLC0415  the only use

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peaks = []
    with ServerProcess(["benchmarks.free_server"]) as server:
        target = server.target()
        for count in (2_000, 200_000):
            write(folder / "in.txt", (f"line {number}" for number in range(count)))
            ran = start(target, "in.txt", "-o", "out.npy", "--overwrite", "--quiet")
            _, status, usage = os.wait4(ran.pid, 0)
            ran.returncode = os.waitstatus_to_exitcode(status)
            assert ran.returncode == 0, ran.stderr.read()
            ran.stderr.close()
            peaks.append(usage.ru_maxrss / 1024)
            assert np.load("out.npy", mmap_mode="r").shape == (count, 1024)
    assert peaks[1] - peaks[0] < 50, peaks
