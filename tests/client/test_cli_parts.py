"""`qwire embed` into parts: files in, folders of Parquet out, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from qwire.cli import main
from qwire.corpus.manifest import Manifest
from support.fake_process import Process
from support.fake_server import Refusal, unit_vectors
from support.machine_speed import hang_limit

pa = pytest.importorskip("pyarrow", reason="the extra `corpus` is not installed")
pq = pytest.importorskip("pyarrow.parquet")

TEXTS = [f"line {number}" for number in range(200)]
MANY = [f"line {number}" for number in range(12_000)]  # a second of work for a fake process


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(texts, name="in.parquet", **columns):
    pq.write_table(pa.table({"text": texts, **columns}), name, row_group_size=70)


def command(target, *args):
    return ["embed", "--target", target, *map(str, args)]


def embed(target, *args):
    """In this process; the exit status."""
    return main(command(target, *args))


def start(target, *args, **options):
    """In a process of its own, to be killed."""
    program = [sys.executable, "-m", "qwire", *command(target, *args)]
    return subprocess.Popen(program, stderr=subprocess.PIPE, text=True, **options)


def read(path):
    """All rows, in the order of the input."""
    return pq.read_table(path).sort_by("index")


def vectors(table):
    """Of rows that all have one."""
    column = table.column("vector").combine_chunks()
    return np.array(column.flatten()).reshape(len(column), -1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def manifest(folder):
    return json.loads((folder / "_manifest.json").read_text("utf-8"))


def parts(folder):
    return sorted(path.name for path in folder.glob("part-*.parquet"))


def wait_for_parts(folder, count, ran):
    deadline = time.monotonic() + hang_limit(30)
    while len(parts(folder)) < count and ran.poll() is None:
        assert time.monotonic() < deadline, "no part appears"
        time.sleep(0.002)


def test_parquet_becomes_a_folder_of_parquet(server, folder, capsys):
    """Ids keep their type, and the schema says which model made the vectors."""
    write(TEXTS, key=pa.array(range(1000, 1200), pa.uint32()))
    args = ("--id-column", "key", "--part-rows", 64, "--instruction", "find", "--dimensions", 8)
    assert embed(server.target, "in.parquet", "-o", "out/", *args) == 0
    assert names(Path("out")) == ["_manifest.json", *parts(folder / "out")]
    assert [pq.read_metadata(f"out/{name}").num_rows for name in parts(folder / "out")] == [
        *(64, 64, 64, 8)
    ]
    found = read("out")
    np.testing.assert_allclose(vectors(found), unit_vectors(TEXTS, 8), rtol=1e-6)
    assert found.column("index").to_pylist() == list(range(200))
    assert found.column("id").to_pylist() == list(range(1000, 1200))
    assert found.schema.field("id").type == pa.uint32()
    assert found.schema.field("vector").type == pa.list_(pa.float32())
    facts = {name.decode(): value.decode() for name, value in found.schema.metadata.items()}
    assert facts["qwire.fingerprint"] == "fake-1"
    assert facts["qwire.model"]
    assert (facts["qwire.input_type"], facts["qwire.instruction"]) == ("document", "find")
    assert (facts["qwire.dimensions"], facts["qwire.encoding"]) == ("8", "float32")
    err = capsys.readouterr().err
    assert err.startswith("qwire embed: 200 texts, ")
    assert err.endswith("tokens/s: out\n")


def test_one_file_is_what_the_parts_would_be(server, folder):
    """And nothing else is left."""
    write(TEXTS)
    args = ("--part-rows", 64, "--encoding", "float16")
    assert embed(server.target, "in.parquet", "-o", "out.parquet", *args) == 0
    assert names(Path()) == ["in.parquet", "out.parquet"]
    found = pq.read_table("out.parquet")
    assert found.column("index").to_pylist() == list(range(200))
    assert found.schema.field("vector").type == pa.list_(pa.float16())
    assert np.array_equal(vectors(found), unit_vectors(TEXTS, 16).astype(np.float16))
    assert found.schema.metadata[b"qwire.fingerprint"] == b"fake-1"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "txt", "parquet"])
def test_a_part_begins_where_the_last_one_ended(server, folder, suffix):
    """In any form, with blank lines, quoted line ends and a BOM; each part is read by itself."""
    texts = [f"{text}, é" if number % 3 else f"{text}\tx" for number, text in enumerate(TEXTS)]
    if suffix in {"csv", "tsv"}:
        texts[5], texts[64] = "a\nb,", 'x "y"\r\n'
    name = f"in.{suffix}"
    if suffix == "parquet":
        write(texts, key=[str(number) for number in range(200)])
    else:
        write_lines(name, texts)
    args = () if suffix == "txt" else ("--id-column", "key")
    assert embed(server.target, name, "-o", "out", *args, "--part-rows", 32) == 0
    for path in parts(folder / "out")[1::2]:
        (folder / "out" / path).unlink()
    assert embed(server.target, name, "-o", "out", *args, "--resume") == 0
    found = read("out")
    np.testing.assert_allclose(vectors(found), unit_vectors(texts, 16), rtol=1e-6)
    if args:
        assert found.column("id").to_pylist() == [str(number) for number in range(200)]


def write_lines(name, texts):
    with Path(name).open("w", encoding="utf-8-sig", newline="") as file:
        if name.endswith("sv"):
            out = csv.writer(file, delimiter="," if name == "in.csv" else "\t")
            out.writerow(["key", "text"])
            for number, text in enumerate(texts):
                out.writerow([number, text])
                file.write("\n" * (number % 2))
        elif name.endswith("jsonl"):
            for number, text in enumerate(texts):
                file.write(json.dumps({"key": number, "text": text}) + "\n" * (1 + number % 2))
        else:
            file.write("\n".join(texts))


def test_csv_becomes_csv(server, folder):
    """The vector is a JSON array, the float32 to its last bit; bad rows keep their places."""
    server.refused_texts["bad"] = Refusal(None, "TEXT_TOO_LARGE", "300 bytes are too many")
    rows = [b"id,body", b'a,"one, ""1"""', b"b,bad", b"c,x,y", b"", b"d,\xff", b'e,"open']
    (folder / "in.csv").write_bytes(b"\r\n".join(rows))
    args = ("--text-column", "body", "--id-column", "id")
    assert embed(server.target, "in.csv", "-o", "out.csv", *args) == 1
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        first, *rest = csv.DictReader(file)
    vector = np.array(json.loads(first.pop("vector")), np.float32)
    assert np.array_equal(vector, unit_vectors(['one, "1"'], 16)[0])
    assert first == {"index": "0", "id": "a", "tokens": "8", "truncated": "0", "error": ""}
    assert [
        (row["index"], row["id"], row["vector"], row["error"].split(" (")[0]) for row in rest
    ] == [
        ("1", "b", "", "text 1: 300 bytes are too many"),
        ("2", "", "", "the row has 3 fields, the header 2: is a text with commas not quoted?"),
        ("3", "d", "", "character 0 of the text is not UTF-8"),
        ("4", "", "", "invalid CSV: unexpected end of data"),
    ]
    errors = (folder / "out.csv.errors.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(error)["line"] for error in errors] == [3, 4, 6, 7]


def test_a_text_that_failed_has_no_vector_and_says_why(server, folder, capsys):
    server.refused_texts["bad"] = Refusal(None, "TEXT_TOO_LARGE", "300 bytes are too many")
    write(["one", "bad", None, " ", "xx five"], key=["a", None, "c", "d", "e"])  # " " is a text
    args = ("-o", "out.parquet", "--id-column", "key")
    assert embed(server.target, "in.parquet", *args) == 1
    rows = pq.read_table("out.parquet").to_pylist()
    assert [row["vector"] is None for row in rows] == [False, True, True, False, False]
    assert [row["error"] and row["error"].split(" (")[0] for row in rows] == [
        None,
        "text 1: 300 bytes are too many",
        "the text is null",
        None,
        None,
    ]
    assert [row["id"] for row in rows] == ["a", None, "c", "d", "e"]
    assert [row["truncated"] for row in rows] == [0, 0, 0, 0, 2]
    err = capsys.readouterr().err
    assert "2 texts failed: see the column `error`\n" in err
    assert "1 text longer than the model takes: cut to fit\n" in err


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_an_input_without_rows_is_a_file_without_rows(server, folder, output):
    write(pa.array([], pa.string()))
    assert embed(server.target, "in.parquet", "-o", output) == 0
    assert pq.read_table(output).schema.field("vector").type == pa.list_(pa.float32())


@pytest.mark.timeout(120)  # starts four processes, on a machine that may have other work
def test_kills_at_any_moment_lose_nothing_and_repeat_nothing(folder):
    """What has its name stays as it is; each row is there once, with its own vector."""
    kill_and_resume(folder, kills=3, seed=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
def test_many_kills(folder, seed):
    kill_and_resume(folder, kills=15, seed=seed)


def kill_and_resume(folder, kills, seed):
    lucky, out = random.Random(seed), folder / "out.parquet"
    partial = folder / "out.parquet.partial"
    write(MANY)
    args = ("in.parquet", "-o", out, "--part-rows", 500, "--quiet", "--resume")
    stamps: dict[str, int] = {}
    with Process() as server:
        for _ in range(kills):
            done = len(parts(partial))
            with start(server.target, *args) as ran:
                wait_for_parts(partial, done + lucky.randrange(3), ran)
                time.sleep(lucky.uniform(0, 0.1))
                ran.kill()
            if not partial.exists():  # not one step was made, or the last one
                continue
            state = manifest(partial)
            for part in state["parts"]:
                name = f"part-{part['number']:05}.parquet"
                found = (partial / name).stat().st_mtime_ns
                assert stamps.setdefault(name, found) == found, "made again"
        if not out.exists():
            assert embed(server.target, *args) == 0
    found = pq.read_table(out)
    assert found.column("index").to_pylist() == list(range(len(MANY)))
    np.testing.assert_allclose(vectors(found), unit_vectors(MANY, 16), rtol=1e-6)
    assert names(Path()) == ["in.parquet", "out.parquet"]


@pytest.mark.timeout(60)
def test_ctrl_c_keeps_whole_parts_only(folder):
    write(MANY)
    out = folder / "out"
    with Process() as server, start(server.target, "in.parquet", "-oout", "--part-rows=500") as ran:
        wait_for_parts(out, 2, ran)
        ran.send_signal(signal.SIGINT)
        assert ran.wait(hang_limit(30)) == 130
        err = ran.stderr.read()
    rows = 500 * len(manifest(out)["parts"])
    assert (
        f"qwire embed: interrupted; {rows:,} rows saved in {rows // 500} of 24 parts in out " in err
    )
    assert len(read("out")) == rows
    assert names(out) == ["_manifest.json", *parts(out)]


def test_ctrl_c_between_a_parts_name_and_the_manifest_leaves_no_part_that_nobody_counts(
    server, folder, monkeypatch, capsys
):
    write(TEXTS)
    add = Manifest.add

    def interrupted(self, done, path):
        if self.parts:
            raise KeyboardInterrupt
        add(self, done, path)

    monkeypatch.setattr(Manifest, "add", interrupted)
    assert embed(server.target, "in.parquet", "-o", "out", "--part-rows", 64) == 130
    assert "interrupted; 64 rows saved in 1 of 4 parts" in capsys.readouterr().err
    assert len(read("out")) == 64


@pytest.mark.skipif(sys.platform != "linux", reason="another process is given the limit")
def test_a_full_disk_keeps_whole_parts_and_is_gone_on_with(server, folder):
    """A limit on the size of files stands in for it: the manifest meets it, or a part."""
    import resource  # noqa: PLC0415  not on Windows

    server.refused_texts["bad"] = Refusal(None, "TEXT_TOO_LARGE", "300 bytes are too many")
    write_lines("in.txt", ["bad", "bad", *TEXTS])
    args = ("in.txt", "-o", "out", "--part-rows", 2)
    with start(server.target, *args) as ran:
        resource.prlimit(ran.pid, resource.RLIMIT_FSIZE, (3500, 3500))
        assert ran.wait(hang_limit(30)) == 1
        err = ran.stderr.read()
    assert "File too large" in err
    assert "Traceback" not in err
    assert not [name for name in names(Path("out")) if name.startswith(".")]
    assert embed(server.target, *args, "--resume") == 1  # of the two bad texts
    assert len(read("out")) == 202


@pytest.fixture
def begun(server, folder, capsys):
    """A run that broke off after its first part of 64 rows, because the model changed."""
    write(TEXTS, body=TEXTS, key=list(range(200)))

    async def change(requests, context):
        async for reply in server.answer_each(requests, context):
            if any(number >= 100 for number in reply.ids):
                reply.fingerprint = "another"
            yield reply

    server.stream = change
    assert embed(server.target, "in.parquet", "-o", "out", "--part-rows", 64) == 1
    server.stream = server.answer_each
    err = capsys.readouterr().err
    assert "64 rows saved in 1 of 4 parts in out (--resume goes on)" in err
    return folder / "out" / "part-00000.parquet"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--dimensions", "4"), "dimensions was None in the run before and is 4 now"),
        (("--text-column", "body"), "text_column was 'text' in the run before and is 'body' now"),
        (("--id-column", "key"), "id_column was None in the run before and is 'key' now"),
        (("--part-rows", "32"), "part_rows was 64 in the run before and is 32 now"),
        (("--encoding", "float16"), "encoding was 'float32' in the run before"),
    ],
)
def test_a_run_with_other_settings_is_refused(server, begun, capsys, args, words):
    before = begun.read_bytes()
    assert embed(server.target, "in.parquet", "-o", "out", "--resume", *args) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert begun.read_bytes() == before


def test_a_run_with_another_input_is_refused(server, begun, capsys):
    write([*TEXTS[:-1], "another"])
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 2
    assert "the input's sha256 was " in capsys.readouterr().err


def test_a_run_with_another_model_is_refused(server, begun, capsys):
    server.fingerprint = "another"
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 2
    assert "fingerprint was 'fake-1' in the run before and is 'another' now" in (
        capsys.readouterr().err
    )
    assert parts(begun.parent) == [begun.name]


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_part_that_is_not_as_it_was_written_is_made_again(server, begun, capsys, change):
    change(begun)
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 0
    assert "1 part no longer as written: made again" in capsys.readouterr().err
    np.testing.assert_allclose(vectors(read("out")), unit_vectors(TEXTS, 16), rtol=1e-6)


def test_resume_says_that_nothing_is_left_to_do(server, begun, capsys):
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 0
    assert "136 texts" in capsys.readouterr().err
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 0
    assert capsys.readouterr().err == "qwire embed: all 200 rows were there before: out\n"


@pytest.fixture
def whole(server, folder, capsys):
    """A folder that is complete; its files as they are."""
    write(TEXTS)
    assert embed(server.target, "in.parquet", "-o", "out", "--part-rows", 64) == 0
    capsys.readouterr()
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_what_is_complete_is_of_its_own_model_only(server, whole, folder, capsys):
    """Else the refused run, too, leaves all as it is."""
    server.fingerprint = "another"
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 2
    err = capsys.readouterr().err
    assert "fingerprint was 'fake-1' in the run before and is 'another' now" in err
    assert err.count("\n") == 1
    assert "--resume goes on" not in err
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == whole


def test_what_is_complete_needs_no_server(whole, folder, capsys):
    """Who has all rows is told so, and that nobody compared the model."""
    assert embed("localhost:1", "in.parquet", "-o", "out", "--resume") == 0
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("qwire embed: the model was not compared: ")
    assert last == "qwire embed: all 200 rows were there before: out"
    assert embed("localhost:1", "in.parquet", "-o", "out", "--resume", "--quiet") == 0
    assert "the model was not compared" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == whole


def test_what_was_complete_and_lost_a_part_needs_a_server(whole, folder):
    (folder / "out" / "part-00001.parquet").unlink()
    assert embed("localhost:1", "in.parquet", "-o", "out", "--resume") == 1


def test_a_complete_run_that_the_server_refuses_is_told_so(server, whole, capsys):
    """A refusal is no server that is away."""
    server.refusals["Describe"].append(Refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"))
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 1
    assert "refused by the test" in capsys.readouterr().err


def test_an_earlier_result_stays_unless_told(server, begun, capsys):
    assert embed(server.target, "in.parquet", "-o", "out") == 2
    assert "out exists: --resume to go on, --overwrite to lose it" in capsys.readouterr().err
    assert embed(server.target, "in.parquet", "-o", "out", "--resume") == 0
    assert len(parts(begun.parent)) == 4
    write(["anew"])
    assert embed(server.target, "in.parquet", "-o", "out", "--overwrite") == 0
    assert len(read("out")) == 1
    (begun.parent / "_manifest.json").unlink()
    for args in ((), ("--overwrite",), ("--resume",)):
        assert embed(server.target, "in.parquet", "-o", "out", *args) == 2
        assert "out is not empty and no run of `qwire embed` made it" in capsys.readouterr().err
    assert len(read("out")) == 1


def test_an_earlier_file_stays_until_there_is_a_better_one(server, folder):
    write(TEXTS)
    (folder / "out.parquet").write_text("old")
    args = ("in.parquet", "-o", "out.parquet")
    for more in ((), ("--resume",)):
        assert embed(server.target, *args, *more) == 2
    assert embed("localhost:1", *args, "--overwrite") == 1
    assert (folder / "out.parquet").read_text() == "old"
    assert embed(server.target, *args, "--overwrite") == 0
    assert len(pq.read_table("out.parquet")) == 200


def test_a_run_that_makes_no_part_leaves_nothing(server, folder, capsys):
    write(TEXTS)
    assert embed("localhost:1", "in.parquet", "-o", "out") == 1
    server.dim = 0
    assert names(Path()) == ["in.parquet"]
    server.dim = 16

    async def lie(requests, context):
        server.dim = 8
        async for reply in server.answer_each(requests, context):
            yield reply

    server.stream = lie
    assert embed(server.target, "in.parquet", "-o", "out") == 1
    err = capsys.readouterr().err
    assert "text 0 got a vector of 8 values, not 16; nothing was written" in err
    assert names(Path()) == ["in.parquet"]


def test_an_input_that_is_written_to_meanwhile_makes_no_part(server, folder, capsys):
    """Its first part would be of one file, its last of another."""
    write_lines("in.txt", TEXTS)

    async def meddle(requests, context):
        async for reply in server.answer_each(requests, context):
            (folder / "in.txt").write_text("another\n" * 200)
            yield reply

    server.stream = meddle
    assert embed(server.target, "in.txt", "-o", "out") == 2
    assert "in.txt was changed while it was read" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("in.parquet", "-o", "out", "--text-column", "no"), "no column 'no', it has 'text', 'x'"),
        (("in.parquet", "-o", "out", "--text-column", "x"), "column 'x' of the input is double"),
        (("in.parquet", "-o", "out", "--id-column", "x"), "an id is a string or a whole number"),
        (("in.csv", "-o", "out"), "no column 'text', it has 'a', 'a'"),
        (("in.csv", "-o", "out", "--text-column", "a"), "several columns 'a'"),
        (("bad.parquet", "-o", "out"), "cannot be read"),
        (("no.parquet", "-o", "out"), "cannot be read"),
        (("-", "-o", "out", "--format", "txt"), "standard input cannot be read in parts"),
        (("-", "-o", "out.npy", "--format", "parquet"), "cannot be read from a pipe"),
        (("in.parquet", "-o", "in.parquet", "--overwrite"), "is the input"),
        (("in.parquet", "-o", "out", "--errors", "e"), "Parquet has a column `error`"),
        (("in.parquet", "-o", "out.npy", "--engine", "ray"), "makes a folder of parts"),
        (("in.parquet", "-o", "bad"), "bad is no folder"),
    ],
)
def test_wrong_usage_is_said_in_one_line(server, folder, capsys, args, words):
    write(TEXTS[:2], x=[1.5, 2.5])
    (folder / "bad.parquet").write_text("text")
    (folder / "bad").write_text("text")
    (folder / "in.csv").write_text("a,a\n1,2\n")
    before = names(Path())
    assert embed(server.target, *args) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert names(Path()) == before


@pytest.mark.parametrize(
    ("hidden", "args", "words"),
    [
        ("pyarrow", ("in.parquet", "-o", "out"), 'pyarrow: pip install "qwire[corpus]"'),
        ("pyarrow", ("in.txt", "-o", "out"), 'pyarrow: pip install "qwire[corpus]"'),
        ("ray", ("in.txt", "-o", "out", "--engine=ray"), 'ray: pip install "qwire[ray]"'),
        ("pydantic", ("in.txt", "-o", "out", "--engine=local"), 'pip install "qwire[server]"'),
    ],
)
def test_a_missing_package_is_told_by_its_extra(server, folder, hidden, args, words):
    """The package is hidden from a process of its own."""
    write(TEXTS)
    write_lines("in.txt", TEXTS)
    code = (
        f"import sys; sys.modules[{hidden!r}] = None; from qwire.cli import main; "
        f"sys.exit(main({command(server.target, *args)!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert words in ran.stderr
    assert not (folder / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", ["", ".parquet"])
def test_memory_does_not_grow_with_the_file(folder, monkeypatch, suffix):
    """200,000 texts would be 800 MB of vectors; a row group and a window are held."""
    from benchmarks.process import ServerProcess  # noqa: PLC0415  the only use

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peaks = []
    with ServerProcess(["benchmarks.free_server"]) as server:
        target = server.target()
        for count in (20_000, 200_000):
            write([f"line {number}" for number in range(count)])
            output = f"out-{count}{suffix}"
            ran = start(target, "in.parquet", "-o", output, "--quiet")
            _, status, usage = os.wait4(ran.pid, 0)
            ran.returncode = os.waitstatus_to_exitcode(status)
            assert ran.returncode == 0, ran.stderr.read()
            ran.stderr.close()
            peaks.append(usage.ru_maxrss / 1024)
            found = pq.read_table(output, columns=["index"]).column("index").to_pylist()
            assert sorted(found) == list(range(count))
    assert peaks[1] - peaks[0] < 50, peaks
