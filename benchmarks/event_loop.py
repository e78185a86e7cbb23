"""The longest pause of the event loop while a client sends it what is heavy to read or to answer.

`python -m benchmarks.event_loop`: a real server around a free model runs here, a client in another
process sends each body six times at once, and a task looks at the clock each millisecond. Pauses
are told in three ways: as they were, which the neighbours of a busy machine make longer; without
the time for which the loop's thread waited for a processor; and as the work of that thread alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.free_server import load_free
from qwire_server.serve import Server
from qwire_server.settings import load as load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# https://docs.kernel.org/scheduler/sched-stats.html
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_AT_ONCE = 6
_LARGE = 15_000_000  # bytes of a body, by default 16 MiB may come
_EMBED, _RERANK = "/v1/embeddings", "/v1/rerank"


def _repeated(start: bytes, part: bytes, end: bytes) -> bytes:
    return start + part * (_LARGE // len(part)) + end


def _texts(count: int, text: str, **more: object) -> bytes:
    return json.dumps({"input": [text] * count, **more}).encode()


BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty lists": (_EMBED, lambda: _repeated(b'{"input":[', b"[],", b"[]]}")),
    "empty objects": (_EMBED, lambda: _repeated(b'{"input":[', b"{},", b"{}]}")),
    "empty texts": (_EMBED, lambda: _repeated(b'{"input":[', b'"",', b'""]}')),
    "numbers": (_EMBED, lambda: _repeated(b'{"input":[', b"1,", b"1]}")),
    "objects to rank": (_RERANK, lambda: _repeated(b'{"documents":[', b'{"text":""},', b'""]}')),
    "keys": (_EMBED, lambda: _repeated(b"{", b'"a":1,', b'"b":1}')),
    "nested lists": (_EMBED, lambda: _repeated(b'{"input":', b"[", b"")),
    "quotes": (_EMBED, lambda: _repeated(b"", b'"', b"")),
    "as many objects as are taken": (
        _RERANK,
        lambda: json.dumps({"query": "q", "documents": [{"a": 1}] * 16_000}).encode(),
    ),
    "as many fields as are taken": (
        _EMBED,
        lambda: json.dumps({f"field_{i}": i for i in range(33_000)}).encode(),
    ),
    "as many token ids as are taken": (
        _EMBED,
        lambda: json.dumps({"input": [[5] * 500] * 2048}).encode(),
    ),
    "one long text": (_EMBED, lambda: _texts(1, "a" * _LARGE)),
    "one long text in escapes": (_EMBED, lambda: _texts(1, "核" * (_LARGE // 6))),
    "half a surrogate at the end": (_EMBED, lambda: _texts(1, "a" * _LARGE + "\ud800")),
    "a long name of a model": (_EMBED, lambda: _texts(1, "a", model="É" * (_LARGE // 6))),
    "a long name of a field": (_EMBED, lambda: json.dumps({"É" * (_LARGE // 6): 1}).encode()),
    "57 long texts": (_EMBED, lambda: _texts(57, "word " * 52_000)),
    "2,048 vectors as floats": (_EMBED, lambda: _texts(2048, "a")),
    "2,048 vectors as base64": (_EMBED, lambda: _texts(2048, "a", encoding_format="base64")),
}


@dataclass
class Pause:
    """The longest of one event loop, in milliseconds.

    Attributes:
        wall: as it was.
        less_waiting: without the time that its thread waited for a processor.
        own: in which its thread ran.
    """

    wall: float = 0.0
    less_waiting: float = 0.0
    own: float = 0.0


async def watch(pause: Pause) -> None:
    """Note the longest time between two turns, until cancelled."""
    wall, own, delayed = time.perf_counter(), time.thread_time(), _delayed()
    while True:
        await asyncio.sleep(0.001)
        now, ran, waited = time.perf_counter(), time.thread_time(), _delayed()
        passed = (now - wall) * 1000 - 1
        pause.wall = max(pause.wall, passed)
        pause.less_waiting = max(pause.less_waiting, passed - (waited - delayed) / 1e6)
        pause.own = max(pause.own, (ran - own) * 1000)
        wall, own, delayed = now, ran, waited


def _delayed() -> int:
    """Nanoseconds that this thread waited for a processor so far; 0 where nobody counts them."""
    try:
        return int(_SCHEDSTAT.read_text("ascii").split()[1])
    except OSError:
        return 0


async def measure(names: Sequence[str]) -> dict[str, tuple[Pause, str]]:
    """Pauses of each kind of body, and the statuses that it was answered with."""
    flags = ("--model", "free", "--grpc-port", "0", "--http-port", "0", "--http-token-ids")
    server = Server(load_settings(flags), load=load_free)
    await server.start()
    gc.collect()
    gc.freeze()  # as `qwire_server.process` does
    found: dict[str, tuple[Pause, str]] = {}
    try:
        for name in names:
            pause = Pause()
            watching = asyncio.ensure_future(watch(pause))
            arguments = ("-m", "benchmarks.event_loop", "--send", name, str(server.http_port))
            client = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await client.communicate()
            watching.cancel()
            found[name] = pause, told.decode().strip()
    finally:
        await server.stop()
    return found


def send(name: str, port: int) -> str:
    """Post one kind of body several times at once; the statuses."""
    path, make = BODIES[name]
    body = make()

    def post(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return reply.status

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        statuses = set(threads.map(post, range(_AT_ONCE)))
    return " ".join(map(str, sorted(statuses)))


def main() -> None:
    """Measure all, or send as a client."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BODIES, default=list(BODIES))
    parser.add_argument("--send", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        print(send(chosen.send[0], int(chosen.send[1])))
        return
    columns = f"{'pause, ms':>10} {'less waiting':>13} {'own work':>9}"
    print(f"{'body, six at once':34} {'status':>9} {columns}")
    for name, (pause, status) in asyncio.run(measure(chosen.only)).items():
        print(
            f"{name:34} {status:>9} {pause.wall:10.1f} {pause.less_waiting:13.1f} {pause.own:9.1f}"
        )


if __name__ == "__main__":
    main()
