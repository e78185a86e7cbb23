"""Files that change while the server runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qwire_server.security.watched import Watched

LONG_AGO = 100.0  # seconds; a file that changed just now may not be whole


def parse(contents: list[bytes]) -> str:
    text = b"+".join(contents).decode()
    if "bad" in text:
        raise ValueError(f"{len(text)} letters are bad")
    return text


def write(path: Path, text: str, age: float = LONG_AGO) -> None:
    """As an editor does it: another file in its place."""
    new = path.with_suffix(".new")
    new.write_text(text)
    changed = time.time() - age
    os.utime(new, (changed, changed))
    new.replace(path)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.one, self.two = folder / "one", folder / "two"
        write(self.one, "a")
        write(self.two, "b")
        self.told: list[str] = []
        self.files = Watched([self.one, self.two], parse, self.told.append, seconds=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_files_that_change_are_read_again(bench: Bench):
    assert bench.files.current() == "a+b"
    write(bench.two, "c")
    assert bench.files.current() == "a+c"
    assert bench.told == [""]


def test_files_that_do_not_change_are_read_once(bench: Bench):
    assert [bench.files.current() for _ in range(3)] == ["a+b"] * 3
    assert bench.told == []


def test_bad_files_change_nothing_and_are_told_once_until_they_are_good(bench: Bench):
    write(bench.one, "bad")
    assert [bench.files.current() for _ in range(3)] == ["a+b"] * 3
    assert bench.told == ["5 letters are bad"]
    write(bench.one, "good")
    assert bench.files.current() == "good+b"
    assert bench.told == ["5 letters are bad", ""]


def test_a_file_that_vanishes_changes_nothing_and_is_taken_up_when_it_is_back(bench: Bench):
    bench.one.unlink()
    assert bench.files.current() == "a+b"
    assert len(bench.told) == 1
    assert "No such file" in bench.told[0]
    write(bench.one, "a")
    assert bench.files.current() == "a+b"
    assert bench.told[1:] == [""]


def test_a_file_that_may_not_be_whole_waits(tmp_path: Path):
    path = tmp_path / "one"
    write(path, "a")
    told: list[str] = []
    files = Watched([path], parse, told.append, seconds=0.01)
    write(path, "half", age=-LONG_AGO)
    time.sleep(0.02)
    assert files.current() == "a"
    write(path, "whole")
    time.sleep(0.02)
    assert files.current() == "whole"


def test_between_two_looks_nothing_is_read(tmp_path: Path):
    path = tmp_path / "one"
    write(path, "a")
    files = Watched([path], parse, [].append, seconds=1000)
    path.unlink()
    assert files.current() == "a"


def test_at_the_start_bad_files_are_an_error(tmp_path: Path):
    path = tmp_path / "one"
    with pytest.raises(OSError, match="No such file"):
        Watched([path], parse, [].append)
    write(path, "bad")
    with pytest.raises(ValueError, match="letters are bad"):
        Watched([path], parse, [].append)
