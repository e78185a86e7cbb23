"""`tei.v1` beside `qwire.v1`, a model that costs nothing: `python -m benchmarks.tei`.

Three ways to send the same texts take turns, round after round, and count replies unread:

    tei       tei.v1 EmbedStream, which has one text a message
    single    qwire.v1 EmbedStream, one text a message
    chunks    qwire.v1 EmbedStream, 64 texts a message

And, in this process alone, three ways to make the bytes of one tei.v1 reply of 1,024 values.
"""

from __future__ import annotations

import argparse
import itertools
import timeit
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from benchmarks import machine, process, texts
from benchmarks.free_server import DIM
from benchmarks.rounds import digits, interleave, spread
from benchmarks.save import RESULTS, save, stem
from benchmarks.sizes import CHUNK_TEXTS, SEED
from qwire.v1 import embedding_pb2 as pb
from qwire_server.api.tei import wire
from qwire_server.pb.tei.v1 import tei_pb2 as tei

if TYPE_CHECKING:
    from collections.abc import Callable

_TEI = "/tei.v1.Embed/EmbedStream"
_QWIRE = "/qwire.v1.Embedding/EmbedStream"
_REPLIES = 2000


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tei", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=100, help="of a round, in chunks of 64")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    result = {
        "about": {**machine.about(), "dim": DIM, "tokens_per_text": 16},
        "streams": streams(chosen.texts * CHUNK_TEXTS, chosen.rounds),
        "microseconds_per_reply": replies(),
    }
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-tei")


def streams(count: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Texts a second, and the server's processor time for each text."""
    many = list(itertools.islice(itertools.cycle(texts.of_sixteen_tokens(4096)), count))
    requests = {
        "tei": [tei.EmbedRequest(inputs=text).SerializeToString() for text in many],
        "single": _chunks(many, 1),
        "chunks": _chunks(many, CHUNK_TEXTS),
    }
    used: dict[str, list[float]] = {name: [] for name in requests}
    with process.ServerProcess(["benchmarks.free_server"]) as server:
        target = server.target()

        def run(name: str) -> int:
            before = process.cpu_seconds(server.pid)
            answered = _unread(target, _TEI if name == "tei" else _QWIRE, requests[name])
            used[name].append(1e6 * (process.cpu_seconds(server.pid) - before) / answered)
            assert answered == count, f"{answered} of {count} texts were answered"
            return answered

        ways: dict[str, Callable[[], int]] = {name: partial(run, name) for name in requests}
        for way in ways.values():
            way()
        for values in used.values():
            values.clear()
        rates = interleave(ways, rounds=rounds, seconds=float("inf"))
    return {
        name: {
            "texts_per_second": spread(rates[name]),
            "server_cpu_microseconds_per_text": spread(used[name]),
        }
        for name in requests
    }


def replies() -> dict[str, float]:
    """Microseconds to make the bytes of one reply, the best of five runs."""
    row = np.random.default_rng(SEED).normal(size=1024).astype("<f4")
    took = tei.Metadata(compute_chars=70, compute_tokens=16, total_time_ns=9**9)
    ways: dict[str, Callable[[], tei.EmbedResponse]] = {
        "parsed": lambda: wire.embed_response(row.tobytes(), took),
        "list": lambda: tei.EmbedResponse(embeddings=row.tolist(), metadata=took),
        "array": lambda: tei.EmbedResponse(embeddings=row, metadata=took),
    }
    assert len({way().SerializeToString() for way in ways.values()}) == 1, "replies differ"

    def microseconds(way: Callable[[], tei.EmbedResponse]) -> float:
        runs = timeit.repeat(lambda: way().SerializeToString(), number=_REPLIES, repeat=5)
        return digits(1e6 * min(runs) / _REPLIES)

    return {name: microseconds(way) for name, way in ways.items()}


def table(result: dict[str, Any]) -> str:
    """For the terminal."""
    lines = ["| | texts/s | server's processor, us a text |", "| --- | --- | --- |"]
    for name, found in result["streams"].items():
        rate, used = found["texts_per_second"], found["server_cpu_microseconds_per_text"]
        lines.append(f"| {name} | {rate['median']:,.0f} | {used['median']:.0f} |")
    lines += ["", "| one reply | us |", "| --- | --- |"]
    lines += [f"| {name} | {us:.1f} |" for name, us in result["microseconds_per_reply"].items()]
    return "\n".join(lines)


def _chunks(many: list[str], size: int) -> list[bytes]:
    starts = range(0, len(many), size)
    return [
        pb.EmbedStreamRequest(ids=range(i, i + size), texts=many[i : i + size]).SerializeToString()
        for i in starts
    ]


def _unread(target: str, method: str, requests: list[bytes]) -> int:
    """Send messages that are bytes already, count the vectors of the replies by their bytes."""
    with grpc.insecure_channel(target) as channel:
        stream: Any = channel.stream_stream(method)  # bytes in, bytes out
        return sum(len(reply) // (4 * DIM) for reply in stream(iter(requests)))


if __name__ == "__main__":
    main()
