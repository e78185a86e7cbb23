"""How works and rows best cross from one process to another: `python -m benchmarks.seam`.

A front sends works of 1 and of 64 texts with 16 tokens each, an engine answers with rows of 4 KiB,
as `--fronts` has it. Two ways, in turn, both with the codec of `processes.carried`:

    socket    all of it through a Unix socket: `processes.link`, what is used
    memory    bodies through shared memory, heads through the socket: no copy in the kernel

Reported: works a second, one after the other (what a lone question waits) and 16 at once.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.rounds import digits, ratio, spread
from benchmarks.save import RESULTS, save, stem
from qwire_server.engine.work import Outcome, RowForm, Rows, Work
from qwire_server.processes.carried import pack_outcome, pack_work, unpack_outcome, unpack_work
from qwire_server.processes.link import READ_BYTES, Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_DIM = 1024
_TOKENS = 16
_SLOTS = 16  # works in flight, each with its part of the memory
_SLOT = 64 * (4 * _DIM + 4 * _TOKENS + 64)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seam", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--works", type=int, default=1000, help="a round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    about, neighbours = machine.about(), machine.Neighbours()
    memory = SharedMemory(create=True, size=_SLOT * _SLOTS)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "seam")
        engine = multiprocessing.get_context("spawn").Process(
            target=_engine, args=(path, memory.name), daemon=True
        )
        engine.start()
        try:
            ways = asyncio.run(_front(path, memory, chosen.rounds, chosen.works))
        finally:
            engine.kill()
            engine.join()
            memory.close()
            memory.unlink()
    about["machine"]["used_by_others"] = neighbours.share()
    result = {"about": about, "works_per_second": ways}
    for name, way in ways.items():
        print(f"{name}: socket {way['socket']['median']:g}, memory by socket {way['ratio']}")
    save(result, chosen.out, stem(about) + "-seam")


def _work(texts: int, key: int) -> Work:
    ids = [np.arange(_TOKENS, dtype=np.int32)] * texts
    return Work(key, ids, [100] * texts, RowForm(_DIM), "model", client="client")


def _outcome(texts: int) -> Outcome:
    rows = np.ones((texts, _DIM), np.float32).tobytes()
    return Outcome(1, list(range(texts)), Rows(rows, texts))


def _buffer(memory: SharedMemory) -> memoryview:
    assert memory.buf is not None
    return memory.buf


def _engine(path: str, memory: str) -> None:
    """Answers each work with rows that were made before."""
    kept = SharedMemory(memory)
    shared = _buffer(kept)
    outcomes = {texts: _outcome(texts) for texts in (1, 64)}

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def by_socket(facts: dict[str, Any], body: bytes) -> None:
            work = unpack_work(facts, body, facts["key"])
            answer, rows = pack_outcome(outcomes[len(work.token_ids)], work.key)
            link.tell("outcome", rows, **answer)

        def by_memory(facts: dict[str, Any], _: bytes) -> None:
            start = facts["key"] * _SLOT
            work = unpack_work(facts, bytes(shared[start : start + facts["size"]]), 1)
            answer, rows = pack_outcome(outcomes[len(work.token_ids)], facts["key"])
            shared[start : start + len(rows)] = rows
            link.tell("outcome", size=len(rows), **answer)

        link = Link(reader, writer, told={"socket": by_socket, "memory": by_memory})
        await link.run()

    async def serve() -> None:
        server = await asyncio.start_unix_server(meet, path, limit=READ_BYTES)
        await server.serve_forever()

    asyncio.run(serve())


async def _front(path: str, memory: SharedMemory, rounds: int, works: int) -> dict[str, Any]:
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240  once, at start
        await asyncio.sleep(0.05)
    waiting: dict[int, asyncio.Future[Outcome]] = {}
    shared = _buffer(memory)

    def take(facts: dict[str, Any], body: bytes) -> None:
        if size := facts.get("size"):
            start = facts["key"] * _SLOT
            body = bytes(shared[start : start + size])
        waiting.pop(facts["key"]).set_result(unpack_outcome(facts, body))

    link = Link(*await asyncio.open_unix_connection(path, limit=READ_BYTES), told={"outcome": take})
    running = asyncio.create_task(link.run())

    async def by_socket(work: Work) -> None:
        waiting[work.key] = done = asyncio.get_running_loop().create_future()
        facts, body = pack_work(work)
        link.tell("socket", body, **facts)
        _check(await done, work)

    async def by_memory(work: Work) -> None:
        waiting[work.key] = done = asyncio.get_running_loop().create_future()
        facts, body = pack_work(work)
        start = work.key * _SLOT
        shared[start : start + len(body)] = body
        link.tell("memory", size=len(body), **facts)
        _check(await done, work)

    found = {}
    for texts in (1, 64):
        for at_once in (1, _SLOTS):
            ways: dict[str, list[float]] = {"socket": [], "memory": []}
            for _ in range(rounds):
                for name, way in (("socket", by_socket), ("memory", by_memory)):
                    ways[name].append(await _rate(way, texts, works, at_once))
            found[f"{texts} texts, {at_once} at once"] = {
                **{name: spread(rates) for name, rates in ways.items()},
                "ratio": digits(ratio(ways["memory"], ways["socket"])["median"]),
            }
    link.close()
    await running
    return found


async def _rate(
    way: Callable[[Work], Awaitable[None]], texts: int, works: int, at_once: int
) -> float:
    left = iter(range(works))
    began = time.perf_counter()

    async def send(key: int) -> None:
        work = _work(texts, key)
        for _ in left:
            await way(work)

    await asyncio.gather(*(send(key) for key in range(at_once)))
    return works / (time.perf_counter() - began)


def _check(outcome: Outcome, work: Work) -> None:
    assert len(outcome.rows.data) == 4 * _DIM * len(work.token_ids), "a row is missing"


if __name__ == "__main__":
    main()
