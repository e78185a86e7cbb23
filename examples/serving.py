"""Starts a Qwire server as its own process, and sees it out. Knows nothing about embeddings."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

READY = re.compile(r" ready: .* on grpc (\S+:\d+)")
STOP_SECONDS = 20  # the server is given 10 of them to let calls finish, and none is open
LOG_LINES = 30  # kept, to be shown if something goes wrong


class ServingError(Exception):
    """The server did not start, or did not stop as it should; the message holds its log."""


@dataclass(frozen=True)
class Running:
    """A server that takes work."""

    target: str


@contextlib.contextmanager
def serving(model: str, watch: Callable[[str], None]) -> Iterator[Running]:
    """Run a server until the block is left, however it is left.

    Args:
        model: what `qwire serve --model` takes.
        watch: called with each line of its log until it is ready.

    Raises:
        ServingError: it did not start, or its exit status was not 0.
    """
    log: deque[str] = deque(maxlen=LOG_LINES)
    with _start(model) as process:
        try:
            target = _wait_until_ready(process, log, watch)
            log.clear()  # these lines were watched
            with _reading(process, log):
                yield Running(target)
        except Exception as error:
            if not isinstance(error, ServingError) and _stop(process) != 0:
                raise _ended(process, log) from error  # the server failed, and that is why
            raise
        finally:
            _stop(process)
    if process.returncode != 0:
        raise _ended(process, log)


def _start(model: str) -> subprocess.Popen[str]:
    # Whatever QWIRE_* variables say: free ports on loopback, and the line that announces them.
    flags = ["--host", "127.0.0.1", "--grpc-port", "0", "--http-port", "0", "--log-level", "info"]
    flags += ["--log-format", "text", "--drain-seconds", "10"]
    return subprocess.Popen(  # noqa: S603  our own server
        [sys.executable, "-m", "qwire_server", "--model", model, *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        # Ctrl-C reaches us alone: with a second signal the server would not wait for its calls.
        start_new_session=True,
    )


def _wait_until_ready(
    process: subprocess.Popen[str], log: deque[str], watch: Callable[[str], None]
) -> str:
    """The address in the line that announces readiness; a model may be downloaded until then."""
    assert process.stdout is not None
    for line in process.stdout:
        log.append(line.rstrip())
        watch(log[-1])
        if ready := READY.search(line):
            return ready[1]
    process.wait()
    # All lines were watched, so one is enough: the server's own word on why, if it had one.
    reasons = [line for line in log if line.startswith("qwire serve: ")]
    raise _ended(process, reasons[-1:] or list(log)[-1:])


@contextlib.contextmanager
def _reading(process: subprocess.Popen[str], log: deque[str]) -> Iterator[None]:
    """Read on, or the server would block once the pipe is full; stops the server at the end."""
    lines = process.stdout or ()
    reader = threading.Thread(target=lambda: log.extend(line.rstrip() for line in lines))
    reader.start()
    try:
        yield
    finally:
        _stop(process)
        reader.join()


def _stop(process: subprocess.Popen[str]) -> int:
    """SIGTERM, and SIGKILL if that does not do; the exit status."""
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except BaseException as error:  # a second Ctrl-C as well: nothing may be left behind
        process.kill()
        status = process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return status


def _ended(process: subprocess.Popen[str], log: Iterable[str]) -> ServingError:
    status = f"the server ended with exit status {process.returncode}"
    return ServingError("\n".join([status, *log]))
