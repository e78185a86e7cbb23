"""The HTTP routes beside gRPC, 256 texts a call: `python -m benchmarks.http`.

A model that costs nothing behind a real server (`free_server.py`), so what is measured is the way
there and back: sockets, parsing, tokenising, queue, encoding the reply, and the client's decoding.
Ways take turns, round after round; one call after the other. Processor time of the server a text
tells its cost apart from the client's. Loopback: no network is measured.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import numpy as np
import openai

from benchmarks import machine, texts
from benchmarks.free_server import DIM
from benchmarks.process import ServerProcess, cpu_seconds, settle
from benchmarks.rounds import digits, interleave, spread
from benchmarks.save import RESULTS, save, stem
from qwire import Client
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DESCRIPTIONS = {
    "grpc": "gRPC: one `Embed` message, to numpy",
    "client": "gRPC: `Client.embed`, which sends 64 texts a request, 4 at once",
    "base64": "`/v1/embeddings`, base64, to numpy",
    "base64_unread": "the same, the reply dropped unread",
    "float": "`/v1/embeddings`, numbers, to lists",
    "float_unread": "the same, the reply dropped unread",
    "tei": "`/embed`, numbers, to lists",
    "openai": "`openai.OpenAI`, as it comes (base64), to lists",
}
TEXTS_A_CALL = 256
_DIFFERENT_TEXTS = 4096
_UNLIMITED = [("grpc.max_receive_message_length", -1)]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=12, help="of each way in a round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    with ServerProcess(["benchmarks.free_server"]) as server:
        found = measure(server, chosen.rounds, chosen.calls)
    result = {
        "about": machine.about(),
        "dim": DIM,
        "tokens_per_text": 16,
        "texts_per_call": TEXTS_A_CALL,
        "words": DESCRIPTIONS,
        **found,
    }
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-http")


def measure(server: ServerProcess, rounds: int, calls: int) -> dict[str, Any]:
    """Texts a second of each way, and the server's processor time."""
    many = texts.of_sixteen_tokens(_DIFFERENT_TEXTS)
    turns = itertools.cycle(range(0, _DIFFERENT_TEXTS, TEXTS_A_CALL))
    spent: dict[str, list[float]] = {name: [] for name in DESCRIPTIONS}

    def timed(name: str, call: Callable[[Sequence[str]], object]) -> Callable[[], int]:
        def run() -> int:
            before = cpu_seconds(server.pid)
            for start in itertools.islice(turns, calls):
                call(many[start : start + TEXTS_A_CALL])
            done = calls * TEXTS_A_CALL
            spent[name].append((cpu_seconds(server.pid) - before) * 1e6 / done)
            return done

        return run

    with ExitStack() as stack:
        ways = {name: timed(name, call) for name, call in _calls(server, stack).items()}
        for way in ways.values():
            way()
        for values in spent.values():
            values.clear()
        rates = interleave(ways, rounds=rounds, seconds=float("inf"))
    first = rates["grpc"]
    return {
        "texts_per_second": {name: spread(values) for name, values in rates.items()},
        "of_grpc": {
            name: spread([a / b for a, b in zip(values, first, strict=True)])
            for name, values in rates.items()
        },
        "server_us_per_text": {
            name: digits(sorted(values)[len(values) // 2]) for name, values in spent.items()
        },
    }


def _calls(server: ServerProcess, stack: ExitStack) -> dict[str, Callable[[Sequence[str]], object]]:
    """Each way with its client, which is closed with the stack."""
    url = f"http://{server.http_target()}"
    client = stack.enter_context(Client(server.target()))
    channel = stack.enter_context(grpc.insecure_channel(server.target(), options=_UNLIMITED))
    stub: Any = pb_grpc.EmbeddingStub(channel)
    http = stack.enter_context(httpx.Client(base_url=url, timeout=60))
    sdk = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="EMPTY"))

    def one_message(part: Sequence[str]) -> object:
        data = stub.Embed(pb.EmbedRequest(texts=part)).vectors.data
        return _checked(np.frombuffer(data, "<f4").reshape(-1, DIM))

    def post(part: Sequence[str], kind: str) -> bytes:
        return http.post("/v1/embeddings", json={"input": part, "encoding_format": kind}).content

    def in_base64(part: Sequence[str]) -> object:
        rows = [base64.b64decode(d["embedding"]) for d in json.loads(post(part, "base64"))["data"]]
        return _checked(np.frombuffer(b"".join(rows), "<f4").reshape(-1, DIM))

    return {
        "grpc": one_message,
        "client": lambda part: _checked(client.embed(part).vectors),
        "base64": in_base64,
        "base64_unread": lambda part: post(part, "base64"),
        "float": lambda part: _checked(
            [d["embedding"] for d in json.loads(post(part, "float"))["data"]]
        ),
        "float_unread": lambda part: post(part, "float"),
        "tei": lambda part: _checked(http.post("/embed", json={"inputs": part}).json()),
        "openai": lambda part: _checked(sdk.embeddings.create(input=list(part), model="free").data),
    }


def _checked(rows: Any) -> Any:
    assert len(rows) == TEXTS_A_CALL, f"{len(rows)} rows came"
    return rows


def table(result: dict[str, Any]) -> str:
    """For the terminal, and for a README."""
    lines = [
        "| | texts/s | min to max | of gRPC | server, µs a text |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, words in DESCRIPTIONS.items():
        rate, share = result["texts_per_second"][name], result["of_grpc"][name]["median"]
        lines.append(
            f"| {words} | {rate['median']:,.0f} | {rate['min']:,.0f} to {rate['max']:,.0f} "
            f"| {share:.2f} | {result['server_us_per_text'][name]:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
