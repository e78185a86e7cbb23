"""Files that change while the server runs."""

from __future__ import annotations

import os
import threading
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


def look(files: Watched[str], times: int = 2) -> str:
    """What the files say after so many looks."""
    for _ in range(times - 1):
        files.current()
    return files.current()


@pytest.mark.parametrize("age", [-3600, -1e9, 0, 1e9])
def test_any_difference_is_taken_up_whatever_the_time_of_the_file(bench: Bench, age: float):
    write(bench.one, "c", age=age)
    assert look(bench.files) == "c+b"
    write(bench.one, "d", age=age)
    assert look(bench.files) == "d+b"
    assert bench.told == ["", ""]


def test_another_text_of_the_same_size_time_and_inode_is_taken_up(bench: Bench):
    before = bench.one.stat()
    time.sleep(0.05)  # a tick of the file system's clock
    with bench.one.open("r+") as file:
        file.write("z")
    os.utime(bench.one, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = bench.one.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    assert look(bench.files) == "z+b"


def test_a_link_that_points_elsewhere_is_a_difference(tmp_path: Path):
    """Kubernetes renews a secret so."""
    for name in ("old", "new"):
        write(tmp_path / name, name, age=-50)
    link = tmp_path / "link"
    link.symlink_to("old")
    files = Watched([link], parse, [].append, seconds=0)
    link.unlink()
    link.symlink_to("new")
    assert look(files) == "new"


def test_what_is_long_is_read_by_a_thread_and_nobody_waits(tmp_path: Path):
    path, told, go = tmp_path / "one", threading.Event(), threading.Event()
    by: list[str] = []
    write(path, "a" * 20_000)

    def slowly(contents: list[bytes]) -> str:
        by.append(threading.current_thread().name)
        assert go.wait(10)
        return parse(contents)[:1]

    go.set()
    files = Watched([path], slowly, lambda _: told.set(), seconds=0)
    go.clear()
    write(path, "b" * 20_000)
    assert [files.current() for _ in range(5)] == ["a"] * 5
    go.set()
    assert told.wait(10)
    assert files.current() == "b"
    assert by == [threading.current_thread().name, "qwire-reload"]


def test_what_is_long_and_bad_is_not_read_again_at_each_look(tmp_path: Path):
    path, told = tmp_path / "one", threading.Event()
    reads: list[int] = []
    write(path, "a" * 20_000)

    def counted(contents: list[bytes]) -> str:
        reads.append(1)
        return parse(contents)

    files = Watched([path], counted, lambda _: told.set(), seconds=0)
    write(path, "bad" * 10_000)
    files.current()
    assert told.wait(10)
    for _ in range(5):
        files.current()
        time.sleep(0.01)
    assert len(reads) == 2


def test_a_reload_that_is_asked_for_reads_though_nothing_changed(tmp_path: Path):
    path, told = tmp_path / "one", threading.Event()
    write(path, "a")
    files = Watched([path], parse, lambda _: told.set(), seconds=1000)
    write(path, "b", age=-50)
    files.reload()
    assert told.wait(10)
    assert files.current() == "b"
