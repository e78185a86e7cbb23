"""Three servers, each behind a proxy, with a supervisor; and processes of clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import qwire
from chaos.tally import Tally
from support.fake_process import Process
from support.machine_speed import hang_limit
from support.proxy import Proxy

if TYPE_CHECKING:
    from typing_extensions import Self

    from chaos.keys import Keys

SERVERS = 3
SETTINGS = ("stall_seconds=2", "drain_seconds=10", "queue_seconds=60", "batch_seconds=0.002")


class Fleet:
    """Use in `with`.

    Args:
        keys: of which each call needs one.
    """

    def __init__(self, keys: Keys) -> None:
        program = ("-m", "support.fault_server", "{port}", *SETTINGS)
        self.keys = keys
        self.servers = [Process(*program, f"api_keys_file={keys.path}") for _ in range(SERVERS)]
        self.proxies = [Proxy(server.port) for server in self.servers]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for each in (*self.servers, *self.proxies):
            self._stack.enter_context(each)
        for server in self.servers:
            server.keep_alive()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def target(self, first: int) -> str:
        """All servers, through their proxies; the one to try first."""
        proxies = [*self.proxies[first:], *self.proxies[:first]]
        return "ipv4:" + ",".join(proxy.target for proxy in proxies)

    @property
    def reloads(self) -> dict[str, int]:
        """Changes of the file of keys, and how often servers took them up or did not."""
        lines = [line for server in self.servers for line in server.lines]
        return {
            "changes": self.keys.changes,
            "taken up": sum("keys reloaded" in line for line in lines),
            "half a file refused": sum("keys not reloaded" in line for line in lines),
        }

    def heal(self) -> None:
        """Undo what lasts."""
        for proxy in self.proxies:
            proxy.throttle(0)
            proxy.release()
        for server in self.servers:
            server.thaw()

    def settle(self, seconds: float = 60) -> list[dict[str, Any]]:
        """Health and census of each server, without any traffic but these questions.

        Raises:
            AssertionError: one is not healthy, or a text of it is neither answered nor failed.
        """
        ends = time.monotonic() + hang_limit(seconds)
        return [self._settled(server, ends) for server in self.servers]

    def stop(self) -> list[dict[str, int]]:
        """Drain them all; the books of every process that ended in an orderly way."""
        for server in self.servers:
            ended = len(server.statuses)
            server.drain()
            while len(server.statuses) == ended:
                time.sleep(0.02)
        lines = [line for server in self.servers for line in server.lines]
        return [json.loads(line[4:]) for line in lines if line.startswith("end ")]

    @staticmethod
    def _settled(server: Process, ends: float) -> dict[str, Any]:
        with qwire.Client(server.target) as client:
            while not client.healthy(timeout=1):
                assert time.monotonic() < ends, f"{server.target} does not become healthy"
                time.sleep(0.1)
        while (census := server.asked("census"))["open"] or census["calls"]:
            assert time.monotonic() < ends, f"{server.target} does not settle: {census}"
            time.sleep(0.1)
        return census


class Clients:
    """Processes of clients. Use in `with`."""

    def __init__(self, targets: list[str], key: str, module: str = "chaos.load") -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, target, str(number), ("sync", "async")[number % 2]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": paths, "QWIRE_API_KEY": key},
                text=True,
            )
            for number, target in enumerate(targets)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def finish(self, seconds: float = 240) -> Tally:
        """Let them end what they began; what all of them saw together.

        Raises:
            subprocess.TimeoutExpired: a call or a stream neither returns nor raises: it is lost.
        """
        total = Tally()
        for process in self._processes:
            process.stdin.close()
            process.stdin = None
        for process in self._processes:
            told, _ = process.communicate(timeout=seconds)
            assert process.returncode == 0, "a client fell over"
            total += Tally.of_json(told)
        return total
