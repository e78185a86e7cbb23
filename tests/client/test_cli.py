"""The `qwire` command and the progress bar."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import signal
import subprocess
import sys

import pytest

import qwire
from qwire import ClassLoad, ClientLoad, Stats
from qwire.cli import main
from qwire.cli.screen import one_line, screen
from qwire.progress import PlainBar
from support.machine_speed import hang_limit


def test_info_prints_an_aligned_table(server, capsys):
    assert main(["info", "--target", server.target]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "fake/model"]
    assert ["dimensions.native", "16"] in [line.split() for line in lines]
    assert lines[-1].split() == ["healthy", "yes"]
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines[:1]}) == 1


def test_info_prints_json(server, capsys):
    server.serving = False
    assert main(["info", "--target", server.target, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limits"]["texts_per_request"] == 256
    assert found["languages"] == ["en", "zh"]
    assert found["healthy"] is False


def test_info_honours_the_key(server, monkeypatch, capsys):
    monkeypatch.setenv("QWIRE_API_KEY", "k")
    main(["info", "--target", server.target])
    assert server.seen[0].metadata["authorization"] == "Bearer k"


def test_info_fails_with_one_line_when_nothing_answers(capsys):
    assert main(["info", "--target", "localhost:1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("qwire info: nothing answers at localhost:1")
    assert err.count("\n") == 1


def test_info_refuses_an_http_address(capsys):
    assert main(["info", "--target", "http://localhost:8000"]) == 2
    assert "speaks gRPC" in capsys.readouterr().err


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"qwire {qwire.__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["info", "--help"]])
def test_help_has_an_example(args, capsys):
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0
    assert "example: qwire" in capsys.readouterr().out


def test_no_verb_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "serve" in capsys.readouterr().out


def test_serve_without_the_servers_packages_says_how_to_get_them(tmp_path):
    """`-S -I` hides site-packages, and with them torch, and the server itself."""
    package = tmp_path / "qwire_server"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text("import a_package_that_is_not_installed")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from qwire.cli import main; "
    ran = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['serve', '--help']))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == (
        "qwire serve needs the package a_package_that_is_not_installed: "
        'pip install "qwire[server]"\n'
    )


def test_serve_passes_everything_on(tmp_path):
    package = tmp_path / "qwire_server"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text("def main(argv):\n    print(argv)\n    return 7\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from qwire.cli import main; "
    ran = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['serve', '--help', '--x', '1']))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (7, "['--help', '--x', '1']\n")


def test_python_m_qwire_is_the_command():
    ran = subprocess.run(
        [sys.executable, "-m", "qwire", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("qwire ")


def test_the_plain_bar_rewrites_one_line(capsys):
    bar = PlainBar(3)
    bar.update(1)
    bar.update(2)
    bar.close()
    assert capsys.readouterr().err == "\r1/3 texts\r3/3 texts\n"


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is optional")
def test_a_bar_is_shown_on_stderr(client, capsys):
    client.embed(["a"] * 100, show_progress=True)
    assert "100/100" in capsys.readouterr().err


def test_info_watches_the_load_until_ctrl_c(demo_server):
    """One JSON object for each look; the second look at a busy server shows what happened."""
    command = [sys.executable, "-m", "qwire", "info", "--target", demo_server, "--json"]
    with subprocess.Popen(
        [*command, "--watch", "0.1"], stdout=subprocess.PIPE, text=True
    ) as watching:
        first = json.loads(watching.stdout.readline())
        with qwire.Client(demo_server) as client:
            client.embed(["one", "two"])
        while (later := json.loads(watching.stdout.readline()))["texts"] < first["texts"] + 2:
            pass
        watching.send_signal(signal.SIGINT)
        assert watching.wait(hang_limit(10)) == 130
    assert later["calls"]["OK"] > first["calls"]["OK"]


def test_a_screen_of_the_watch_shows_queue_rates_and_failures():
    idle = ClassLoad(0.0, 0, 0.0)
    before = Stats(
        100.0, 10.0, idle, idle, (), 0, {"OK": 5}, {}, 100, 1000, 0, 0, 10, 0.0, 50.0, 0.0, 1.0
    )
    now = dataclasses.replace(
        before,
        uptime_seconds=102.0,
        bulk=ClassLoad(1.5, 300, 0.25),
        clients=(ClientLoad("ipv4:10.0.0.7", "bulk", 1.5, 0.25, 2),),
        clients_active=1,
        calls={"OK": 7, "RESOURCE_EXHAUSTED": 4},
        failures={"OVERLOADED": 4},
        texts=300,
        tokens=5000,
        bulk_tokens=3000,
        batch_fill=0.93,
        busy_seconds=51.0,
        starved_seconds=0.5,
        saved_tokens=400,
    )
    shown = "\n".join(screen(before, now))
    assert "[##########-----     ]  busy 50%, starved 25%   2,000 tokens/s   100 texts/s" in shown
    assert "bulk 75%   saved 10%" in shown
    assert "[###                 ]  1.50 of 10 s   1 clients" in shown
    assert "fill 93%   0.0 a second   measured/estimated 1.00   up 1 min" in shown
    assert re.search(r"OVERLOADED +2\.0 +4\n", shown)
    assert re.search(r"ipv4:10\.0\.0\.7 +bulk +1\.500 +0\.250 +2", shown)
    assert one_line(before, now) == (
        "busy=50% starved=25% tokens/s=2000 texts/s=100 fill=93% held=1.50s of=10s interactive=0 "
        "oldest=0.00s bulk=300 oldest_bulk=0.25s clients=1 OVERLOADED/s=2.0"
    )


def test_a_server_that_was_restarted_counts_from_its_start():
    idle = ClassLoad(0.0, 0, 0.0)
    before = Stats(
        900.0, 10.0, idle, idle, (), 0, {"OK": 9}, {}, 500, 9000, 0, 0, 90, 0.0, 50.0, 0.0, 1.0
    )
    now = dataclasses.replace(before, uptime_seconds=4.0, texts=20, tokens=400, busy_seconds=1.0)
    assert "busy=25% starved=0% tokens/s=100 texts/s=5 " in one_line(before, now)


def test_what_a_client_is_called_does_not_move_the_cursor():
    idle = ClassLoad(0.0, 0, 0.0)
    client = ClientLoad("cert:\x1b[2Jx", "bulk", 0.0, 0.0, 0)
    now = Stats(1.0, 10.0, idle, idle, (client,), 1, {}, {}, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 1.0)
    assert "\x1b" not in "".join(screen(now, now))
