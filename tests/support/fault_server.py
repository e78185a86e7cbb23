"""A server with `fault_model`: `python -m support.fault_server PORT [NAME=VALUE ...]`.

It says `ready PORT` on its output. Each line of its input is a fault for one batch, `tokenizer` for
one slice, `go on`, which ends the fault `wait`, or `census`, which it answers with a line of
figures about itself. The names are those of settings, and `batch_seconds`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwire_server import logs
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support.fault_model import FaultRunner, load


class FaultServer:
    """A server, its runner, and who tells them to fail."""

    def __init__(self, settings: Settings, batch_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._runner = FaultRunner(batch_seconds)
        self._model = load(self._runner)
        self._broken_slices = 0
        encode = self._model.tokenizer.encode
        self._model.tokenizer.encode = lambda *args: self._encode(encode, *args)  # type: ignore[method-assign]
        self.server = Server(settings, load=lambda _: self._model)
        threading.Thread(target=self._listen, daemon=True).start()

    def census(self) -> dict[str, Any]:
        """What this process holds now, and the books of its texts."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        books = self.server.books
        return {
            "memory": pages * resource.getpagesize(),
            "threads": len(list(Path("/proc/self/task").iterdir())),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "tasks": len(asyncio.all_tasks()),
            "calls": self.server.open_calls,
            "open": books.open,
            **asdict(books),
        }

    def _encode(self, encode: Any, *args: Any) -> Any:
        if self._broken_slices:
            self._broken_slices -= 1
            raise RuntimeError("the tokenizer was told to fail")
        return encode(*args)

    def _listen(self) -> None:
        for line in sys.stdin:
            word = line.strip()
            if word == "census":
                self._loop.call_soon_threadsafe(self._tell_census)
            elif word == "tokenizer":
                self._broken_slices += 1
            elif word == "go on":
                self._runner.go_on.set()
            else:
                self._runner.faults.put(word)

    def _tell_census(self) -> None:
        say("census", json.dumps(self.census()))


def say(*words: object) -> None:
    """One line to whoever started this process."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main() -> int:
    port = int(sys.argv[1])
    chosen = dict(argument.split("=", 1) for argument in sys.argv[2:])
    seconds = float(chosen.pop("batch_seconds", 0))
    settings = Settings(**{"model": "demo", "grpc_port": port, "http_port": "off", **chosen})
    logs.configure(settings.log_format, settings.log_level)
    faulty = FaultServer(settings, seconds)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await faulty.server.start()
    say("ready", faulty.server.port)
    status = await faulty.server.run(stopping)
    say("end", json.dumps(asdict(faulty.server.books)))
    return status


if __name__ == "__main__":
    ended = asyncio.run(main())
    sys.stdout.flush()
    os._exit(ended)  # as `qwire serve`: a thread may be stuck
