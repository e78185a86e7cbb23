"""Which keys are good, without a server."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

import pytest

from qwire_server.errors import PermissionDenied, StartError, Unauthenticated
from qwire_server.security import keys
from qwire_server.security.keyring import Keyring
from qwire_server.security.scopes import ANY, EMBED, METRICS, OPEN, RERANK, TEXTS
from support.keys import KeyFile


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.toml")


def ring(file: KeyFile) -> Keyring:
    return Keyring(file.path, [].append, seconds=0)


def test_a_key_is_found_by_all_of_it_only(file: KeyFile):
    key, other = file.new("a"), file.new("b")
    found = keys.parse(file.path.read_bytes())
    assert found.find(key).name == "a"
    key_id, _, secret = key.partition(".")
    wrong = (f"{key_id}.", key_id, secret, f".{secret}", f"{key}x", key[:-1], "", ".", "é.\udcff")
    for token in (*wrong, f"{key_id}.{other.partition('.')[2]}", f"unknown.{secret}"):
        assert found.find(token) is None


@pytest.mark.parametrize("token", ["KEY", "ID.wrong", "unknown.wrong", "nonsense", ""])
def test_every_token_costs_one_comparison_of_as_many_bytes(
    file: KeyFile, token: str, monkeypatch: pytest.MonkeyPatch
):
    """In constant time; so nobody learns from the clock which ids there are."""
    key = file.new("a")
    found, seen = keys.parse(file.path.read_bytes()), []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    found.find(token.replace("KEY", key).replace("ID", key.partition(".")[0]))
    assert seen == [(32, 32)]


def test_a_scope_is_needed_where_one_is(file: KeyFile):
    held = {scope: file.new(scope, scope) for scope in ("embed", "rerank", "metrics")}
    keyring = ring(file)

    def admits(key: str, need: frozenset[str]) -> bool:
        try:
            return keyring.admit(f"Bearer {key}", need) is not None or not need
        except PermissionDenied:
            return False

    def may(need: frozenset[str]) -> set[str]:
        return {scope for scope, key in held.items() if admits(key, need)}

    assert may(EMBED) == {"embed"}
    assert may(RERANK) == {"rerank"}
    assert may(METRICS) == {"metrics"}
    assert may(TEXTS) == {"embed", "rerank"}
    assert may(ANY) == may(OPEN) == {"embed", "rerank", "metrics"}


def test_an_unknown_id_and_a_wrong_secret_are_told_the_same(file: KeyFile):
    key_id, _, secret = file.new("a").partition(".")
    keyring, told = ring(file), set()
    for token in (f"{key_id}.x", f"x.{secret}", f"{key_id}.{secret}x", secret, key_id, ""):
        with pytest.raises(Unauthenticated) as error:
            keyring.admit(f"Bearer {token}", EMBED)
        told.add(error.value.message)
        assert key_id not in error.value.message
        assert secret not in error.value.message
    assert len(told) == 1


def test_the_scheme_is_bearer_in_any_case(file: KeyFile):
    key = file.new("a")
    keyring = ring(file)
    assert keyring.admit(f"bearer {key}", EMBED)
    assert keyring.admit(f"BEARER  {key} ", EMBED)
    for header in (None, "", key, f"Basic {key}", "Bearer"):
        with pytest.raises(Unauthenticated):
            keyring.admit(header, EMBED)


def test_without_a_file_everybody_comes_in():
    keyring = Keyring(None, [].append)
    assert not keyring.is_on
    assert keyring.admit(None, METRICS) is None


def test_a_file_without_keys_lets_nobody_in(file: KeyFile):
    with pytest.raises(Unauthenticated):
        ring(file).admit("Bearer a.b", ANY)


def test_a_key_that_let_in_is_good_until_it_is_revoked_replaced_or_narrowed(file: KeyFile):
    key = file.new("a", "embed")
    keyring = ring(file)
    held = keyring.admit(f"Bearer {key}", EMBED)
    assert held
    file.new("b")
    keyring.check(held, EMBED)
    text = file.path.read_text()
    file.write(text.replace('["embed"]', '["metrics"]'))
    with pytest.raises(PermissionDenied):
        keyring.check(held, EMBED)
    file.write(text.replace(held.digest.hex(), "0" * 64))
    with pytest.raises(Unauthenticated):
        keyring.check(held, EMBED)
    file.write("")
    with pytest.raises(Unauthenticated):
        keyring.check(held, EMBED)


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o602])
def test_a_file_that_others_can_read_or_change_is_warned_of(
    file: KeyFile, caplog: pytest.LogCaptureFixture, mode: int
):
    file.path.chmod(mode)
    ring(file)
    assert "chmod 600" in caplog.text


def test_a_file_of_its_owner_and_a_group_that_reads_is_not(
    file: KeyFile, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        file.path.chmod(0o640)
        ring(file)
    assert caplog.text == ""


def test_a_server_does_not_start_on_a_file_that_is_missing_or_wrong(tmp_path: Path):
    missing = tmp_path / "none.toml"
    with pytest.raises(StartError, match="qwire key new NAME --file"):
        Keyring(missing, [].append)
    missing.write_text("[[key]]\n")
    with pytest.raises(StartError, match=r"--api-keys-file .*none.toml: key 1 has no name"):
        Keyring(missing, [].append)
