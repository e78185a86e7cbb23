"""Where one process's front ends, and what more of them add: `python -m benchmarks.fronts`.

A model that costs nothing, so that all there is is the front, the way to the engine and back. Each
server is asked in turn, over as many connections as spread over all fronts:

    stream    streams of 64-text messages, replies dropped unread: the client costs little
    single    one text a call, from 32 callers in 8 processes: one of them has one connection

Client and server share the machine, so beside rates there is the processor time that each process
of the server took: a front ends where its own is one second per second, since Python runs one
thread of a process at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks import machine, process, texts
from benchmarks.free_server import DIM
from benchmarks.process import ServerProcess
from benchmarks.rounds import digits, percentile, spread
from benchmarks.save import RESULTS, save, stem
from qwire import AsyncClient
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.pool import Pool

FRONTS = (0, 1, 2)
_STREAMS = 8
_CHUNK = 64
_CALLERS = 32
_CALLING = 8  # processes
_STREAM = "/qwire.v1.Embedding/EmbedStream"
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fronts", description=__doc__)
    parser.add_argument("--fronts", type=int, nargs="+", default=FRONTS, help="0: one process")
    parser.add_argument("--texts", type=int, default=16_384, help="a round, of streams")
    parser.add_argument("--calls", type=int, default=1_600, help="a round, of single texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    about = machine.about()
    neighbours = machine.Neighbours()
    with contextlib.ExitStack() as stack:
        servers = {
            str(fronts): stack.enter_context(
                ServerProcess(["benchmarks.free_server", *([str(fronts)] if fronts else [])])
            )
            for fronts in chosen.fronts
        }
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(_CALLING))
        found = measure(servers, pool, chosen)
    about["machine"]["used_by_others"] = neighbours.share()
    result = {"about": {**about, "streams": _STREAMS, "callers": _CALLERS}, "fronts": found}
    print(table(result))
    save(result, chosen.out, stem(about) + "-fronts")


def measure(
    servers: dict[str, ServerProcess], pool: Pool, chosen: argparse.Namespace
) -> dict[str, Any]:
    """All servers take turns."""
    messages = _messages(chosen.texts // _STREAMS)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for number in range(chosen.rounds + 1):  # the first to warm up
        for name, server in servers.items():
            one = {
                "stream": _timed(server, chosen.texts, lambda t: _stream_all(t, messages)),
                "single": _timed(server, chosen.calls, lambda t: _single(pool, t, chosen.calls)),
            }
            if number:
                rounds[name].append(one)
    return {
        name: {way: _summary([one[way] for one in all_of_it]) for way in ("stream", "single")}
        for name, all_of_it in rounds.items()
    }


def _timed(server: ServerProcess, count: int, work: Any) -> dict[str, Any]:
    before, began = _processor(server.pid), time.perf_counter()
    waits = work(server.target())
    seconds = time.perf_counter() - began
    used = {pid: (t - before.get(pid, 0.0)) / seconds for pid, t in _processor(server.pid).items()}
    return {"rate": count / seconds, "used": sorted(used.values(), reverse=True), "waits": waits}


def _summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`used`: processors that the processes of the server used, the busiest first."""
    waits = [wait for one in rounds for wait in one["waits"] or []]
    used = [statistics.median(each) for each in zip(*(one["used"] for one in rounds), strict=True)]
    return {
        "per_second": spread([one["rate"] for one in rounds]),
        "used": [digits(each) for each in used],
        **({"ms": {f"p{p}": percentile(waits, p) * 1000 for p in (50, 99)}} if waits else {}),
    }


def _processor(pid: int) -> dict[int, float]:
    """Seconds of processor time, of a process and of those that it started."""
    found = {}
    for each in [pid, *_children(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            found[each] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in listed]


def _messages(count: int) -> list[bytes]:
    many = texts.of_sixteen_tokens(count)
    parts = (many[i : i + _CHUNK] for i in range(0, count, _CHUNK))
    return [pb.EmbedStreamRequest(ids=range(len(p)), texts=p).SerializeToString() for p in parts]


def _stream_all(target: str, messages: list[bytes]) -> None:
    with ThreadPoolExecutor(_STREAMS) as threads:
        list(threads.map(lambda _: _stream(target, messages), range(_STREAMS)))


def _stream(target: str, messages: list[bytes]) -> None:
    """On a connection of its own, so that the kernel chooses a front for it."""
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call: Any = channel.stream_stream(_STREAM)
        received = sum(len(reply) // (4 * DIM) for reply in call(iter(messages)))
        assert received == sum(_count(message) for message in messages), "a text has no row"


def _count(message: bytes) -> int:
    return len(pb.EmbedStreamRequest.FromString(message).texts)


def _single(pool: Pool, target: str, calls: int) -> list[float]:
    asked = pool.starmap(_ask, [(target, calls // _CALLING)] * _CALLING, 1)
    return [wait for waits in asked for wait in waits]


def _ask(target: str, calls: int) -> list[float]:
    return asyncio.run(_ask_all(target, calls))


async def _ask_all(target: str, calls: int) -> list[float]:
    (text,) = texts.of_sixteen_tokens(1)
    waits: list[float] = []
    left = iter(range(calls))
    async with AsyncClient(target) as client:

        async def call() -> None:
            for _ in left:
                began = time.perf_counter()
                await client.embed([text])
                waits.append(time.perf_counter() - began)

        await asyncio.gather(*(call() for _ in range(_CALLERS // _CALLING)))
    return waits


def table(result: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [
        "| fronts | streamed texts/s | processors | calls/s | processors | p50 ms | p99 ms |",
        "| --: | --: | :-- | --: | :-- | --: | --: |",
    ]
    for name, ways in result["fronts"].items():
        stream, single = ways["stream"], ways["single"]
        cells = [
            f"{stream['per_second']['median']:g}",
            " + ".join(f"{used:.2f}" for used in stream["used"]),
            f"{single['per_second']['median']:g}",
            " + ".join(f"{used:.2f}" for used in single["used"]),
            *(f"{digits(single['ms'][p]):g}" for p in ("p50", "p99")),
        ]
        lines.append(f"| {name if name != '0' else 'one process'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
