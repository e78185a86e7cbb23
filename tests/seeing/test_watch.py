"""`qwire info --watch` as a process: in a pipe, in a terminal, over a restart of the server."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

import qwire
from support.machine_speed import hang_limit
from support.web_front import serve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def command(port: int, *more: str) -> list[str]:
    target = f"127.0.0.1:{port}"
    return [sys.executable, "-m", "qwire", "info", "--target", target, "--watch", "0.1", *more]


@contextmanager
def watching(port: int) -> Iterator[subprocess.Popen[str]]:
    """Watch into a pipe."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(port), stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_with(process: subprocess.Popen[str], pattern: str) -> None:
    """Read up to a line that matches; the test's time limit is the only other way out."""
    while not re.search(pattern, line := process.stdout.readline()):
        assert line, process.stderr.read()


def test_a_server_that_restarts_is_waited_for_and_ctrl_c_ends_it_all(port: int):
    with ExitStack() as life:
        first = life.enter_context(ExitStack())
        web = first.enter_context(serve(settings={"grpc_port": port}))
        process = life.enter_context(watching(port))
        line_with(process, "busy=0% .* clients=0$")
        with qwire.Client(web.grpc) as client:
            client.embed(["a", "b"])
        line_with(process, "texts/s=[1-9]")
        first.close()
        line_with(process, "no answer: ")
        life.enter_context(serve(settings={"grpc_port": port}))
        line_with(process, "busy=")
        process.send_signal(signal.SIGINT)
        assert process.wait(hang_limit(20)) == 130
        assert process.stderr.read() == "qwire info: interrupted\n"


def test_a_server_that_was_never_there_is_an_error(port: int):
    with watching(port) as process:
        assert process.wait(hang_limit(20)) == 1
        assert "nothing answers" in process.stderr.read()


def test_whoever_reads_may_leave(port: int):
    """As `head` does."""
    with serve(settings={"grpc_port": port}), watching(port) as process:
        line_with(process, "busy=")
        process.stdout.close()
        assert process.wait(hang_limit(20)) == 0
        assert process.stderr.read() == ""


def test_a_terminal_gets_one_screen_drawn_in_place(port: int):
    with serve(settings={"grpc_port": port}):
        drawn = in_terminal(port)
    screens = drawn.split("\x1b[H")
    assert len(screens) > 3
    assert "\x1b[2J" not in drawn  # which would flicker
    shown = screens[-2]
    assert "Acme/Fake-Embedding-0.1B on cpu" in shown
    assert "device  [" in shown
    assert shown.count("\n") < 24
    assert drawn.startswith("\x1b[?25l")
    assert "\x1b[?25h" in screens[-1]  # the cursor is back


def in_terminal(port: int) -> str:
    """What it writes into a terminal until it is interrupted, after some screens."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(command(port), stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        drawn = b""
        while drawn.count(b"\x1b[H") < 6:
            drawn += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux says EIO at the end
            while more := os.read(terminal, 4096):
                drawn += more
        assert process.wait(hang_limit(20)) == 130
    os.close(terminal)
    return drawn.decode()
