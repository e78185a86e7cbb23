"""A child process that keeps a model loaded and answers questions, as lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

_STOP_SECONDS = 20


class Worker:
    """`python -m <program>`; starts at once, ends with the block.

    Args:
        program: a module that calls `answer`, and its arguments.
    """

    def __init__(self, *program: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__
        self._program = program
        self._popen = subprocess.Popen(
            [sys.executable, "-m", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._popen.poll() is None

    def send(self, line: str) -> None:
        """Write a line."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(line + "\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> str:
        """Read a line.

        Raises:
            RuntimeError: it ended, with its log.
        """
        assert self._popen.stdout is not None
        if line := self._popen.stdout.readline():
            return line.strip()
        raise self._ended()

    def ask(self, name: str, **arguments: Any) -> Any:
        """Call one of its functions; what it returned."""
        self.send(json.dumps([name, arguments]))
        return json.loads(self.receive())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.terminate()
        try:
            self._popen.communicate(timeout=_STOP_SECONDS)
        except BaseException:
            self._popen.kill()
            self._popen.wait()
            raise
        finally:
            self._log.close()

    def _ended(self) -> RuntimeError:
        self._popen.wait(_STOP_SECONDS)
        self._log.seek(0)
        return RuntimeError(f"{self._program[0]} ended:\n{self._log.read()}")


def answer(functions: Mapping[str, Callable[..., Any]]) -> None:
    """The child's part: answer until the input ends.

    Libraries print what they like: their output goes where errors go.
    """
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            print(json.dumps(functions[name](**arguments)), file=out, flush=True)
