"""SECURITY.md says what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qwire_server.api.http import listener
from qwire_server.api.rpc import options
from qwire_server.api.served import MAX_INSTRUCTION_BYTES, MAX_MESSAGE_BYTES
from qwire_server.engine.queue import quota
from qwire_server.settings import Settings

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")


def test_each_setting_that_is_named_exists():
    flags = set(re.findall(r"`--([a-z-]+)`", TEXT))
    known = {name.replace("_", "-") for name in Settings.model_fields}
    assert len(flags) > 10
    assert flags <= known, flags - known


def test_the_numbers_are_those_of_the_code():
    settings = Settings()
    said = {
        "16 MiB": MAX_MESSAGE_BYTES == settings.http_body_bytes == 16 * 2**20,
        "2,048; 256 KiB": (settings.max_texts, settings.max_text_bytes) == (2048, 256 * 1024),
        "8 KiB": MAX_INSTRUCTION_BYTES == 8 * 1024,
        "256 |": settings.client_streams == 256,
        "60 s, then the stream": settings.stalled_seconds == 60,
        "with 8 such streams": quota._MOST_STALLED == 8,
        "4,096": settings.max_connections == 4096,
        "| 10 s |": options._HANDSHAKE == 10_000,
        "| 5 minutes |": options._IDLE == 5 * 60_000,
        "one hour": settings.connection_seconds == 3600,
        "15 s on gRPC": options._PING_EVERY + options._PING_ANSWERED == 15_000,
        "25 s on HTTP": _kernel_seconds() == 25,
        "| 16 KiB |": options._MAX_HEADER_BYTES == listener._MAX_HEADER_BYTES == 16 * 1024,
        "60 s, then 408": settings.http_request_seconds == 60,
        "each of 1,000 calls": options._CALLS == 1000,
    }
    assert all(said.values()), said
    for words in said:
        assert words in TEXT


def _kernel_seconds() -> int:
    times = listener._KEEPALIVE
    return times["TCP_KEEPIDLE"] + times["TCP_KEEPINTVL"] * times["TCP_KEEPCNT"]


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here")
def test_nginx_understands_what_is_proposed_for_it(tmp_path: Path):
    (proposed,) = re.findall(r"```nginx\n(.*?)```", TEXT, re.DOTALL)
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    proposed = proposed.replace("listen 443 ssl http2", "listen 127.0.0.1:65535 http2")
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} "
        f"http {{ access_log off; {folders} {proposed} }}"
    )
    done = subprocess.run(
        ["nginx", "-t", "-c", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
