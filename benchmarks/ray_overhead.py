"""What Ray Serve costs, and what its replicas add: `python -m benchmarks.ray_overhead`.

1. A model that costs nothing, behind a server of its own and behind one replica, in turns: what the
   way through HAProxy and Ray takes of a call's time and of the rate.
2. A model that sleeps, as a device of a known speed would: rate and waits of 1, 2 and 4 replicas,
   on one cluster. The processors are shared by all replicas, clients and the cluster, and the model
   needs none.

Some three minutes on two idle processors; `--rounds 5 --turns 3` is steadier and takes far longer.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, process, texts
from benchmarks.crowd import Crowd
from benchmarks.rounds import digits, interleave, percentile, spread
from benchmarks.save import RESULTS, save, stem
from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Callable

_SERVER = "benchmarks.ray_server"
_START_SECONDS, _STOP_SECONDS = 300, 120
_DRAIN_SECONDS = 6
_COME_SECONDS = 4  # until the proxy has heard of replicas that have come
_GO_SECONDS = 2 * _DRAIN_SECONDS  # until those that are too many have gone
_LOOK_SECONDS = 5
_CLIENTS = 16


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison")
    parser.add_argument("--calls", type=int, default=400, help="single texts of a round")
    parser.add_argument("--streamed", type=int, default=10_000, help="texts of a round's stream")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--turns", type=int, default=1, help="of each number of replicas")
    parser.add_argument("--sleep", type=float, default=0.02, help="seconds for each text")
    parser.add_argument("--seconds", type=float, default=10, help="of load, a turn")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(1, spin=False)
    with tempfile.TemporaryDirectory(prefix="qb", dir="/tmp") as folder:
        os.environ["RAY_TMPDIR"] = folder
        result: dict[str, Any] = {"about": machine.about()}
        busy = result["about"]["machine"]
        busy["used_by_others_before"] = _used_by_others()
        result["overhead"] = overhead(chosen.calls, chosen.streamed, chosen.rounds)
        result["replicas"] = scaling(chosen)
        busy["used_by_others_after"] = _used_by_others()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-ray")


def overhead(calls: int, streamed: int, rounds: int) -> dict[str, Any]:
    """A server of its own and one replica, in turns."""
    many = texts.of_sixteen_tokens(4096)
    long = list(itertools.islice(itertools.cycle(many), streamed))
    flags, target = _flags("--model", "0", "--replicas", "1")
    with (
        process.ServerProcess(["benchmarks.free_server"]) as plain,
        process.ServerProcess([_SERVER, *flags], _START_SECONDS, _STOP_SECONDS) as cluster,
    ):
        cluster.target()
        sides = {"server": _Side(plain.target()), "ray": _Side(target)}
        ways: dict[str, Callable[[], int]] = {}
        for name, side in sides.items():
            ways[f"{name} single"] = partial(side.single, many[:calls])
            ways[f"{name} clients"] = partial(side.together, many[:calls])
            ways[f"{name} stream"] = partial(side.stream, long)
        for way in ways.values():
            way()
        for side in sides.values():
            side.seconds.clear()
        rates = interleave(ways, rounds=rounds, seconds=float("inf"))
        for side in sides.values():
            side.close()
    return {
        name: {
            "single_ms": {f"p{p}": digits(1000 * percentile(side.seconds, p)) for p in (50, 99)},
            "calls_per_second_of_one": spread(rates[f"{name} single"]),
            f"calls_per_second_of_{_CLIENTS}": spread(rates[f"{name} clients"]),
            "streamed_texts_per_second": spread(rates[f"{name} stream"]),
        }
        for name, side in sides.items()
    }


def scaling(chosen: argparse.Namespace) -> dict[str, Any]:
    """The same load on each number of replicas."""
    rates: dict[int, list[float]] = {count: [] for count in chosen.replicas}
    waits: dict[int, list[float]] = {count: [] for count in chosen.replicas}
    flags, target = _flags("--model", str(chosen.sleep), "--drain-seconds", str(_DRAIN_SECONDS))
    first, now = ["--replicas", str(chosen.replicas[0])], chosen.replicas[0]
    command = [_SERVER, *flags, *first]
    with process.ServerProcess(command, _START_SECONDS, _STOP_SECONDS) as cluster:
        cluster.target()
        address = cluster.variables()
        for _ in range(chosen.turns):
            for count in chosen.replicas:
                if count != now:
                    _deploy_again(flags, address, count)
                time.sleep(_COME_SECONDS if count >= now else _GO_SECONDS)
                now = count
                rate, seconds = _load(target, chosen.seconds)
                rates[count].append(rate)
                waits[count] += seconds
    return {
        "clients": _CLIENTS,
        "sleep_seconds_per_text": chosen.sleep,
        "by_count": {
            str(count): {
                "texts_per_second": spread(rates[count]),
                "ms": {f"p{p}": digits(1000 * percentile(waits[count], p)) for p in (50, 99)},
            }
            for count in chosen.replicas
        },
    }


def table(result: dict[str, Any]) -> str:
    """For the terminal."""
    key = f"calls_per_second_of_{_CLIENTS}"
    lines = [f"| | p50 ms | p99 ms | calls/s, {_CLIENTS} clients | texts/s, stream |"]
    lines.append("| --- " * 5 + "|")
    for name, side in result["overhead"].items():
        ms, calls = side["single_ms"], side[key]["median"]
        stream = side["streamed_texts_per_second"]["median"]
        lines.append(f"| {name} | {ms['p50']} | {ms['p99']} | {calls:,.0f} | {stream:,.0f} |")
    lines += ["", "| replicas | texts/s | p50 ms | p99 ms |", "| --- " * 4 + "|"]
    for count, found in result["replicas"]["by_count"].items():
        ms, rate = found["ms"], found["texts_per_second"]["median"]
        lines.append(f"| {count} | {rate:,.0f} | {ms['p50']:,.0f} | {ms['p99']:,.0f} |")
    return "\n".join(lines)


def _used_by_others() -> float | None:
    """What else the machine does; not meanwhile, as Ray's processes would count as others."""
    neighbours = machine.Neighbours()
    time.sleep(_LOOK_SECONDS)
    return neighbours.share()


class _Side:
    """One of the two that are compared.

    Attributes:
        seconds: of each single call.
    """

    def __init__(self, target: str) -> None:
        self.seconds: list[float] = []
        self._client = Client(target)
        self._crowd = Crowd(target, _CLIENTS)

    def single(self, many: list[str]) -> int:
        for text in many:
            began = time.perf_counter()
            self._client.embed([text])
            self.seconds.append(time.perf_counter() - began)
        return len(many)

    def together(self, many: list[str]) -> int:
        return len(self._crowd.embed(many))

    def stream(self, many: list[str]) -> int:
        return sum(1 for _ in self._client.embed_stream(many))

    def close(self) -> None:
        self._crowd.close()
        self._client.close()


def _load(target: str, seconds: float) -> tuple[float, list[float]]:
    """Clients with one text each, for so long: texts a second, and each call's seconds."""
    many = texts.of_sixteen_tokens(_CLIENTS * 4)
    with closing(Crowd(target, _CLIENTS)) as crowd:
        crowd.embed(many)
        crowd.seconds.clear()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            crowd.embed(many)
        return len(crowd.seconds) / (time.perf_counter() - began), crowd.seconds


def _deploy_again(flags: list[str], address: dict[str, str], count: int) -> None:
    subprocess.run(
        [sys.executable, "-m", _SERVER, *flags, "--replicas", str(count)],
        env={**os.environ, **address},
        check=True,
        timeout=_START_SECONDS,
    )


def _flags(*more: str) -> tuple[list[str], str]:
    """Flags of a deployment on a free port, and its address."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, http_port = one.getsockname()[1], other.getsockname()[1]
    flags = ["--grpc-port", str(port), "--ray-http-port", str(http_port), "--replica-cpus", "0.25"]
    return [*flags, *more], f"127.0.0.1:{port}"


if __name__ == "__main__":
    main()
