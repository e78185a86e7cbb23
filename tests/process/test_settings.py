"""Settings are spelled once, and an unknown one refuses to start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from qwire_server import settings
from qwire_server.errors import StartError
from qwire_server.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("QWIRE_"):
            monkeypatch.delenv(name)


def test_every_setting_is_in_the_readme_with_its_default():
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| ([^|]*) \|", readme, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        flag = name.replace("_", "-")
        assert flag in rows, f"--{flag} is missing in the README's settings table"
        if field.default is not None:
            told = rows[flag].strip().strip("`").replace(",", "")
            assert told.lower() == str(field.default).lower(), f"--{flag}: the README says {told}"
    assert len(rows) == len(Settings.model_fields), "the README lists a setting that is gone"


def test_help_tells_every_flag_and_an_example(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        settings.load(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in told
    assert "qwire serve --model demo" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QWIRE_SERVICE_HOST", "10.0.0.1"),
        ("QWIRE_SERVICE_PORT_GRPC", "50051"),
        ("QWIRE_PORT", "tcp://10.0.0.1:50051"),
        ("QWIRE_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("QWIRE_GRPC_PORT", "tcp://10.0.0.1:50051"),  # of a service named qwire-grpc
        ("QWIRE_GRPC_SERVICE_HOST", "10.0.0.1"),
        ("QWIRE_TARGET", "localhost:50051"),  # the client's
        ("QWIRE_API_KEY", "secret"),
    ],
)
def test_what_kubernetes_and_the_client_set_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    assert settings.load([]).grpc_port == 50051


def test_a_misspelt_variable_is_named_with_its_nearest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QWIRE_DRAIN_SECOND", "3")
    with pytest.raises(StartError, match="did you mean QWIRE_DRAIN_SECONDS"):
        settings.load([])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("modell = 'x'", "did you mean model"),
        ("batch_tokens = 'x'", "--batch-tokens"),
        ("model =", "--config"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: str, said: str):
    file = tmp_path / "qwire.toml"
    file.write_text(content)
    with pytest.raises(StartError, match=said) as refusal:
        settings.load(["--config", str(file)])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--grpc-port", "70000"],
        ["--device", "tpu"],
        ["--dtype", "float16"],
        ["--bulk-share", "1.5"],
        ["--config", "/no/such/file"],
        ["surplus"],
    ],
)
def test_a_bad_flag_is_one_line(arguments: list[str]):
    with pytest.raises(StartError, match=re.escape(arguments[0])) as refusal:
        settings.load(arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("value", "told"), [("off", 0), ("0", 0), ("64MiB", 64 * 2**20)])
def test_the_prefix_cache_is_bytes_with_a_unit_or_off(value: str, told: int):
    assert settings.load(["--prefix-cache", value]).prefix_cache == told


@pytest.mark.parametrize("value", ["64", "on", "-1MiB"])
def test_a_prefix_cache_without_a_unit_is_refused(value: str):
    with pytest.raises(StartError, match="--prefix-cache"):
        settings.load([f"--prefix-cache={value}"])


SWITCHES = ["http_token_ids", "insecure_listen", "deterministic"]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--{}"], True),
        (["--no-{}"], False),
        (["--{}", "true"], True),
        (["--{}=true"], True),
        (["--{}", "False"], False),
        (["--{}=false"], False),
        (["--{}", "on"], True),
        (["--{}", "0"], False),
        (["--{}", "--grpc-port", "1"], True),
    ],
    ids=str,
)
def test_a_switch_takes_the_words_that_the_table_of_settings_has(
    name: str, words: list[str], told: bool
):
    arguments = [word.format(name.replace("_", "-")) for word in words]
    assert getattr(settings.load(arguments), name) is told


def test_every_setting_of_yes_or_no_is_such_a_switch():
    switches = [name for name, field in Settings.model_fields.items() if field.annotation is bool]
    assert sorted(switches) == sorted(SWITCHES)


@pytest.mark.parametrize(
    "words", [["--http-token-ids", "maybe"], ["--http-token-ids=maybe"], ["--host", "true", "x"]]
)
def test_another_word_behind_a_switch_is_one_line(words: list[str]):
    with pytest.raises(StartError) as refusal:
        settings.load(words)
    assert "\n" not in str(refusal.value)
