"""The engine in this process, behind the words of a client."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from qwire import InvalidDimensionsError, InvalidRequestError, ServerError
from qwire.cli import main
from qwire_server.corpus import stream
from qwire_server.corpus.local import LocalEngine
from qwire_server.errors import ModelError
from qwire_server.model.errors import DeviceLost
from qwire_server.settings import Settings
from support.runners import FakeRunner, row
from support.serving import fake_model

pq = pytest.importorskip("pyarrow.parquet", reason="the extra `corpus` is not installed")
pytestmark = pytest.mark.torch

TEXTS = [f"The {number}th sentence is about rain." for number in range(150)]


@pytest.fixture
def runner():
    return FakeRunner()


@pytest.fixture
def engine(runner):
    """A local engine with a fake model."""
    with LocalEngine(Settings(), lambda _: fake_model(runner)) as running:
        yield running


def numbered(texts):
    return enumerate(texts)


def test_each_text_has_its_item_in_their_order(engine):
    """More than fit the window of tokens, in batches of any company."""
    texts = [f"{'word ' * (number % 17)}{number}" for number in range(1000)]
    tokenizer = fake_model(FakeRunner()).tokenizer
    items = list(engine.embed_stream(numbered(texts), dimensions=4))
    assert [item.id for item in items] == list(range(1000))
    for item, text in zip(items, texts, strict=True):
        (ids,) = tokenizer.encode([text]).ids
        expected = row(ids)[:4]
        np.testing.assert_allclose(item.embedding, expected / np.linalg.norm(expected), rtol=1e-5)
        assert item.tokens == len(ids)


def test_a_bad_text_is_an_item_with_an_error(engine, runner):
    """Whoever finds it: the stream, the limits, the tokenizer, the model."""
    (bad,) = fake_model(runner).tokenizer.encode(["this one breaks it"]).ids

    def fail(batch):
        if any(len(ids) == len(bad) for ids in batch):
            raise ValueError("bad")

    runner.fails = fail
    texts = ["fine", None, "\ud800", "x" * 5000, "this one breaks it", "word " * 500]
    items = list(engine.embed_stream(numbered(texts), truncate="none"))
    assert [item.id for item in items] == list(range(6))
    assert [item.error and item.error.code for item in items] == [
        None,
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "TEXT_TOO_LARGE",
        "MODEL_FAILED",
        "TEXT_TOO_LONG",
    ]


def test_a_lost_device_ends_the_stream(engine, runner):
    def fail(batch):
        raise DeviceLost("it fell off the bus")

    runner.fails = fail
    with pytest.raises(ServerError, match="the device failed"):
        list(engine.embed_stream(numbered(TEXTS)))


def test_an_instruction_without_room_ends_the_stream(engine):
    with pytest.raises(InvalidRequestError, match="the instruction takes"):
        list(engine.embed_stream(numbered(["text " * 200]), instruction="word " * 200))


def test_a_word_that_the_model_does_not_take_is_refused_at_once(engine):
    with pytest.raises(InvalidDimensionsError, match="dimensions 9 is out of range"):
        engine.embed_stream(numbered(TEXTS), dimensions=9)


def test_what_the_input_raises_comes_out_and_the_engine_goes_on(engine):
    def broken():
        yield from numbered(TEXTS)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.embed_stream(broken()))
    assert len(list(engine.embed_stream(numbered(TEXTS)))) == 150


def test_a_stream_that_is_left_takes_its_work_with_it(engine, runner):
    """And has not read far ahead: an input may be endless."""
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield number, f"word {number}"

    items = engine.embed_stream(endless())
    assert [next(items).id for _ in range(10)] == list(range(10))
    items.close()
    assert len(taken) <= stream._WINDOW_TEXTS + stream._CHUNK_TEXTS
    batches = len(runner.batches)
    assert len(list(engine.embed_stream(numbered(TEXTS)))) == 150
    assert len(runner.batches) - batches < 100


def test_a_model_that_cannot_be_loaded_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("one\n")
    args = ["embed", "in.txt", "-o", "out", "--engine", "local", "--model", "./nowhere"]
    assert main(args) == 2
    err = capsys.readouterr().err
    assert "nowhere" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "in.txt"]
    monkeypatch.setenv("QWIRE_DTYPE", "int3")
    assert main(args) == 2
    assert "--dtype" in capsys.readouterr().err


def test_a_load_that_fails_starts_nothing():
    def load(settings):
        raise ModelError("no weights")

    with pytest.raises(InvalidRequestError, match="no weights"):
        LocalEngine(Settings(), load)


def test_parts_of_a_server_and_of_this_process_are_the_same(
    demo_server, tmp_path, monkeypatch, capsys
):
    """So one goes on where the other stopped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QWIRE_DTYPE", "float32")
    monkeypatch.setenv("QWIRE_PREFIX_CACHE", "off")
    lines = [text.encode() for text in TEXTS]
    (tmp_path / "in.txt").write_bytes(b"\n".join([*lines[:50], b"\xff", *lines[50:]]))
    args = ["embed", "in.txt", "-o", "out", "--part-rows", "40"]
    assert main([*args, "--target", demo_server]) == 1
    served = pq.read_table("out").sort_by("index")
    for number in (1, 3):
        (tmp_path / "out" / f"part-0000{number}.parquet").unlink()
    assert main([*args, "--engine", "local", "--model", "demo", "--resume"]) == 1
    assert "2 parts no longer as written" in capsys.readouterr().err
    local = pq.read_table("out").sort_by("index")
    assert local.drop_columns("vector").equals(served.drop_columns("vector"))
    ours, theirs = (
        np.array([vector or [0] * 384 for vector in table.column("vector").to_pylist()])
        for table in (local, served)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["complete"]


_COUNT = """
import resource, sys
from benchmarks.free_server import load_free
from qwire_server.corpus.local import LocalEngine
from qwire_server.settings import load
count = int(sys.argv[1])
with LocalEngine(load(["--model", "free"]), load_free) as engine:
    texts = ((number, f"line {number}") for number in range(count))
    assert [item.id for item in engine.embed_stream(texts)] == list(range(count))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_input():
    """200,000 texts would be 800 MB of vectors."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    peaks = [
        float(
            subprocess.run(
                [sys.executable, "-c", _COUNT, str(count)],
                env=env,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        for count in (20_000, 200_000)
    ]
    assert peaks[1] - peaks[0] < 60, peaks  # of that, 13 MB are the list of ids
