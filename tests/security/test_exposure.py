"""Who listens on a network has TLS and keys, or says that it goes without."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from qwire_server.errors import StartError
from qwire_server.protection import protect
from qwire_server.security.exposure import Exposure, is_loopback
from qwire_server.settings import Settings
from support.certificates import Authority
from support.machine_speed import hang_limit
from support.serving import Recorder, fake_serving

if TYPE_CHECKING:
    from pathlib import Path

NO_TLS, NO_KEYS = "no TLS (--tls-cert, --tls-key)", "no keys (--api-keys-file)"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("[::]", False),
        ("10.0.0.1", False),
        ("gpu.example", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_which_addresses_are_the_machine_s_own(host: str, own: bool):
    assert is_loopback(host) == own


@pytest.mark.parametrize(
    ("tls", "keys", "certificates", "http", "missing"),
    [
        (False, False, False, True, f"{NO_TLS} and {NO_KEYS}"),
        (False, True, False, True, NO_TLS),
        (True, False, False, True, NO_KEYS),
        (True, True, False, True, ""),
        (True, True, True, True, ""),
        (True, False, True, False, ""),  # every caller shows a certificate
        (
            *(True, False, True, True),
            (
                "no keys for HTTP, which asks nobody for a certificate (--api-keys-file, or "
                "--http-port off)"
            ),
        ),
    ],
)
def test_what_is_missing_on_a_network(
    tls: bool, keys: bool, certificates: bool, http: bool, missing: str
):
    assert Exposure("10.0.0.1", tls, keys, certificates, http).missing == missing


def test_nothing_is_missing_on_loopback():
    assert Exposure("127.0.0.1", False, False, False, True).missing == ""


def settings(**chosen: Any) -> Settings:
    return Settings(model="demo", grpc_port=0, http_port="off", **chosen)


def test_an_open_server_on_a_network_does_not_start_and_names_the_flag():
    with pytest.raises(StartError) as caught:
        protect(settings(host="0.0.0.0"), Recorder())
    assert str(caught.value) == (
        f"--host 0.0.0.0 lets other machines in, with {NO_TLS} and {NO_KEYS}: add what is missing, "
        "or listen on 127.0.0.1 behind what has it, or say --insecure-listen"
    )


def test_with_the_flag_it_starts_and_warns_each_time(caplog: pytest.LogCaptureFixture):
    for _ in range(2):
        protect(settings(host="0.0.0.0", insecure_listen=True), Recorder())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages[0] == (
        "INSECURE: --insecure-listen lets other machines in at 0.0.0.0, with "
        f"{NO_TLS} and {NO_KEYS}"
    )


def test_what_is_protected_starts_without_the_flag_and_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    authority = Authority(tmp_path)
    pair = authority.server().settings
    assert protect(settings(host="::", **pair, tls_client_ca=authority.file), Recorder())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["tls_cert"], "--tls-cert and --tls-key go together"),
        (["tls_key"], "--tls-cert and --tls-key go together"),
        (["tls_client_ca"], "--tls-client-ca needs --tls-cert and --tls-key"),
        (["tls_allowed_names"], "--tls-allowed-names needs --tls-client-ca"),
        (["tls_cert", "tls_key", "tls_allowed_names"], "needs --tls-client-ca"),
    ],
)
def test_settings_of_no_effect_refuse_to_start(tmp_path: Path, names: list[str], told: str):
    authority = Authority(tmp_path)
    every = {
        **authority.server().settings,
        "tls_client_ca": authority.file,
        "tls_allowed_names": "me",
    }
    with pytest.raises(StartError, match=told):
        protect(settings(**{name: every[name] for name in names}), Recorder())


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_client_ca"])
async def test_a_file_that_is_not_there_refuses_to_start_by_name(tmp_path: Path, name: str):
    authority = Authority(tmp_path)
    given = {**authority.server().settings, "tls_client_ca": authority.file}
    given[name] = tmp_path / "nowhere.pem"
    with pytest.raises(StartError, match=f"No such file or directory: '{given[name]}'"):
        async with fake_serving(given):
            pass


def test_the_command_ends_with_status_2_and_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "qwire", "serve", "--model", "demo", "--host", "0.0.0.0"],
        capture_output=True, text=True, timeout=hang_limit(60), check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("qwire serve: --host 0.0.0.0 lets other machines in")
    assert "--insecure-listen" in line
