"""One, two and four servers behind one target, a model that sleeps: `python -m benchmarks.scale`.

The client is one `AsyncClient` with a list of addresses. Four ways, with so many callers per server
that each of them has work:

    single    one text a call, from as many callers
    list      `embed` of a long list, 8 texts a request
    stream    one `embed_stream`: it uses one server at a time
    streams   one `embed_stream` for each server

Each server can do 1 / --seconds texts a second and no more: what is shown is whether the target's
servers are all used, and what a call waits. Client and servers share the machine, but a sleep takes
nothing from it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, process, texts
from benchmarks.process import ServerProcess
from benchmarks.rounds import digits, percentile
from benchmarks.save import RESULTS, save, stem
from qwire import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = (1, 2, 4)
_CALLERS = 8  # a server, in `single`
_IN_FLIGHT = 4  # requests a server, in `list`
_REQUEST_TEXTS = 8  # of 64 a run would have so few that their number does not come out even


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.05, help="that a text takes")
    parser.add_argument("--time", type=float, default=10, help="seconds a way")
    parser.add_argument("--servers", type=int, nargs="+", default=SERVERS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    about = {
        **machine.about(),
        "seconds_per_text": chosen.seconds,
        "callers_per_server": _CALLERS,
        "requests_in_flight_per_server": _IN_FLIGHT,
    }
    with contextlib.ExitStack() as stack:
        program = ["benchmarks.sleep_server", str(chosen.seconds)]
        started = [stack.enter_context(ServerProcess(program)) for _ in range(max(chosen.servers))]
        targets = [server.target() for server in started]
        ways = {
            str(count): asyncio.run(measure(targets[:count], chosen.seconds, chosen.time))
            for count in chosen.servers
        }
    result = {"about": about, "servers": ways}
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-scale")


async def measure(targets: Sequence[str], seconds: float, duration: float) -> dict[str, Any]:
    """All ways, one after the other."""
    count = len(targets)
    many = texts.of_sixteen_tokens(max(64 * count, int(duration * count / seconds)))
    async with AsyncClient(",".join(targets), max_concurrency=_IN_FLIGHT * count) as client:
        await asyncio.gather(*(client.embed(["hello"]) for _ in range(16 * count)))
        waits, single = await _single(client, _CALLERS * count, duration)
        return {
            "single": single,
            "single_ms": {f"p{p}": percentile(waits, p) * 1000 for p in (50, 99)},
            "list": await _rate(client.embed(many, batch_size=_REQUEST_TEXTS), len(many)),
            "stream": await _rate(_stream(client, many[: len(many) // count]), len(many) // count),
            "streams": await _rate(
                asyncio.gather(*(_stream(client, many[i::count]) for i in range(count))), len(many)
            ),
        }


async def _single(client: AsyncClient, callers: int, duration: float) -> tuple[list[float], float]:
    """Seconds of each call; calls a second."""
    waits: list[float] = []
    (text,) = texts.of_sixteen_tokens(1)
    began = time.perf_counter()

    async def call() -> None:
        while (now := time.perf_counter()) - began < duration:
            await client.embed([text])
            waits.append(time.perf_counter() - now)

    await asyncio.gather(*(call() for _ in range(callers)))
    return waits, digits(len(waits) / (time.perf_counter() - began))


async def _stream(client: AsyncClient, many: Sequence[str]) -> None:
    async for item in client.embed_stream(many):
        assert item.error is None, item.error


async def _rate(work: Any, count: int) -> float:
    began = time.perf_counter()
    await work
    return digits(count / (time.perf_counter() - began))


def table(result: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [
        "| servers | calls/s | p50 ms | p99 ms | list, texts/s | one stream | a stream each |",
        "| --: | --: | --: | --: | --: | --: | --: |",
    ]
    for count, way in result["servers"].items():
        wait = way["single_ms"]
        cells = (
            way["single"],
            wait["p50"],
            wait["p99"],
            way["list"],
            way["stream"],
            way["streams"],
        )
        lines.append(f"| {count} | " + " | ".join(f"{digits(cell):g}" for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
