"""`qwire key`: what it prints, and what it leaves in the file."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwire import cli, keyfile
from qwire_server.security import keys
from support.machine_speed import hang_limit


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.toml"
    monkeypatch.setenv("QWIRE_API_KEYS_FILE", str(path))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["key", *arguments])
    told = capsys.readouterr()
    return status, told.out.strip(), told.err.strip()


def test_a_new_key_is_printed_once_and_lets_in(file: Path, capsys: pytest.CaptureFixture[str]):
    """Standard output is the key and nothing else, for a variable of the shell."""
    chosen = ("--scopes", "embed, metrics", "--tokens-per-minute", "600", "--streams", "2")
    status, key, said = run(capsys, "new", "ingest", *chosen)
    assert status == 0
    assert key.count(".") == 1
    assert key not in said
    assert key.partition(".")[2] not in file.read_text()
    found = keys.parse(file.read_bytes()).find(key)
    assert found
    assert (found.client, found.scopes) == ("key:ingest", {"embed", "metrics"})
    assert (found.tokens_per_minute, found.streams) == (600, 2)
    assert file.stat().st_mode & 0o777 == 0o600


def test_keys_are_listed_without_their_digests(file: Path, capsys: pytest.CaptureFixture[str]):
    run(capsys, "new", "a")
    run(capsys, "new", "b", "--scopes", "metrics")
    status, told, _ = run(capsys, "list")
    assert status == 0
    head, one, two = told.splitlines()
    assert head.split()[:3] == ["name", "id", "scopes"]
    assert one.split()[2] == "embed,rerank"
    assert two.split()[0] == "b"
    assert all(entry.sha256 not in told for entry in keyfile.parse(file.read_text()))


def test_a_key_is_revoked_by_name_or_id(file: Path, capsys: pytest.CaptureFixture[str]):
    kept = run(capsys, "new", "kept")[1]
    run(capsys, "new", "by-name")
    by_id = run(capsys, "new", "by-id")[1]
    assert run(capsys, "revoke", "by-name")[0] == 0
    assert run(capsys, "revoke", by_id.partition(".")[0])[0] == 0
    assert keys.parse(file.read_bytes()).find(kept)
    assert len(keyfile.parse(file.read_text())) == 1
    status, _, said = run(capsys, "revoke", "by-name")
    assert status == 2
    assert "no key of that name or id" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new", "a b"], "letters, digits"),
        (["new", "x", "--scopes", "admin"], "embed, rerank, metrics"),
        (["new", "x", "--scopes", ""], "scopes"),
        (["new", "x", "--streams", "0"], "above 0"),
        (["new", "taken"], "there is a key named 'taken'"),
        (["list", "--file", "/no/such/file"], "/no/such/file: No such file"),
        (["new", "x", "--file", "/no/such/file"], "/no/such/file: No such file"),
    ],
)
def test_what_cannot_be_done_is_a_line_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    run(capsys, "new", "taken")
    before = file.read_text()
    status, out, told = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in told
    assert "\n" not in told
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_without_a_file_it_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("QWIRE_API_KEYS_FILE", raising=False)
    status, _, said = run(capsys, "list")
    assert status == 2
    assert "--file" in said


def test_who_could_read_the_file_still_can_and_a_link_stays_one(
    file: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "new", "a")
    file.chmod(0o640)
    link = file.with_name("link.toml")
    link.symlink_to(file)
    run(capsys, "new", "b", "--file", str(link))
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert len(keyfile.parse(file.read_text())) == 2


def test_some_at_once_lose_no_key(file: Path, capsys: pytest.CaptureFixture[str]):
    """Each makes one, or is told to come again."""
    at_once = threading.Barrier(8)

    def make(name: str) -> bool:
        at_once.wait(hang_limit(10))
        return cli.main(["key", "new", name]) == 0

    with ThreadPoolExecutor(8) as pool:
        names = [f"k{i}" for i in range(8)]
        made = {name for name, done in zip(names, pool.map(make, names), strict=True) if done}
    assert made == {entry.name for entry in keyfile.parse(file.read_text())}
    assert made
    assert capsys.readouterr().err.count("another `qwire key`") == 8 - len(made)


def test_what_a_killed_one_left_is_named(file: Path, capsys: pytest.CaptureFixture[str]):
    left = file.with_name("keys.toml.new")
    left.touch()
    status, _, said = run(capsys, "new", "a")
    assert status == 2
    assert f"remove {left}" in said
    assert left.exists()
