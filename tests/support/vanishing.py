"""Three machines on a network of their own, of which one vanishes in mid-work.

Run as root of a new network namespace: `unshare -Urn python vanishing.py sync` (or `async`). Each
machine is a namespace with a cable to this one. A cable is pulled: no packet says that anything has
ended, and attempts to connect hang. Prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import qwire
from support import fake_process

PORT = 50051


class Machine:
    """Number 1, 2 or 3, with a server."""

    def __init__(self, number: int) -> None:
        self.target = f"10.77.{number}.2:{PORT}"
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self._holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        ip(f"link add here{number} type veth peer name there netns {self._holder.pid}")
        ip(f"addr add 10.77.{number}.1/24 dev here{number}")
        ip(f"link set here{number} up")
        for words in (f"addr add 10.77.{number}.2/24 dev there", "link set there up"):
            self._run("ip", *words.split())
        fake = [sys.executable, fake_process.__file__, str(PORT), "fake-1", f"10.77.{number}.2"]
        self._server = subprocess.Popen([*self._inside(), *fake], stdout=subprocess.PIPE)
        assert self._server.stdout.readline().startswith(b"ready")

    def vanish(self) -> None:
        """Pull the cable at its end."""
        self._run("ip", "link", "set", "there", "down")

    def close(self) -> None:
        for process in (self._server, self._holder):
            process.kill()
            process.wait()
        self._server.stdout.close()

    def _inside(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-n"]

    def _run(self, *command: str) -> None:
        subprocess.run([*self._inside(), *command], check=True)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def run(kind: str) -> None:
    ip("link set lo up")
    with contextlib.ExitStack() as stack:
        machines = [stack.enter_context(contextlib.closing(Machine(n))) for n in (1, 2, 3)]
        target = ",".join(machine.target for machine in machines)
        saw = asyncio.run(_async(target, machines)) if kind == "async" else _sync(target, machines)
        print(json.dumps(saw))  # noqa: T201


def _sync(target, machines):
    texts = [f"text {number}" for number in range(300)]
    with qwire.Client(target) as client:
        client.embed(texts, batch_size=1)
        machines[0].vanish()
        unary = len(client.embed(texts, batch_size=1))
        items = []
        for item in client.embed_stream(texts, chunk_size=8, window=64):
            items.append(item.error is None)
            if len(items) == 100:
                machines[1].vanish()
    return {"unary": unary, "streamed": sum(items)}


async def _async(target, machines):
    texts = [f"text {number}" for number in range(300)]
    async with qwire.AsyncClient(target) as client:
        await client.embed(texts, batch_size=1)
        machines[0].vanish()
        unary = len(await client.embed(texts, batch_size=1))
        items = []
        async for item in client.embed_stream(texts, chunk_size=8, window=64):
            items.append(item.error is None)
            if len(items) == 100:
                machines[1].vanish()
    return {"unary": unary, "streamed": sum(items)}


if __name__ == "__main__":
    run(sys.argv[1])
