"""The front alone: a model that costs nothing, and the real path around it.

Server and client share the machine, so each takes from the other; processor time per text tells the
two apart, and `stream_unread`, which drops replies unread, shows what the server could do beside a
client that costs little. The model is not measured, nor is a network: this is loopback.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks import texts
from benchmarks.crowd import Crowd
from benchmarks.free_server import BATCH_TOKENS, DIM
from benchmarks.process import ServerProcess
from benchmarks.rounds import interleave, percentile, spread
from benchmarks.sizes import CHUNK_TEXTS
from qwire import Client
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.sizes import Sizes

DESCRIPTIONS = {
    "stream": f"`Client.embed_stream`, {CHUNK_TEXTS} texts a message",
    "stream_unread": "the same messages, replies dropped unread: the server's own limit",
    "unary": f"`Client.embed`, {CHUNK_TEXTS} texts a request, 4 in flight",
    "single": "`Client.embed`, one text a call, one call after the other",
    "clients": "64 clients at once, one text a call",
}
_STREAM = "/qwire.v1.Embedding/EmbedStream"
_DIFFERENT_TEXTS = 4096


def measure(sizes: Sizes) -> dict[str, Any]:
    """Rates by way, then one long stream with its memory."""
    with ServerProcess(["benchmarks.free_server"]) as server:
        target = server.target()
        crowd = Crowd(target)
        with Client(target) as client:
            try:
                ways = _ways(client, crowd, target, sizes)
                _check_tokens(client)
                for way in ways.values():
                    way()
                crowd.seconds.clear()
                rates = interleave(ways, rounds=sizes.rounds, seconds=sizes.front_seconds)
            finally:
                crowd.close()
        long = _long_stream(target, server.pid, sizes)
    return {
        "dim": DIM,
        "batch_tokens": BATCH_TOKENS,
        "tokens_per_text": 16,
        "texts_per_second": {name: spread(values) for name, values in rates.items()},
        "clients_ms": {f"p{p}": percentile(crowd.seconds, p) * 1000 for p in (50, 99)},
        "long_stream": long,
    }


def _ways(client: Client, crowd: Crowd, target: str, sizes: Sizes) -> dict[str, Callable[[], int]]:
    different = texts.of_sixteen_tokens(_DIFFERENT_TEXTS)
    many = list(itertools.islice(itertools.cycle(different), sizes.chunked_texts))
    few = many[: sizes.single_calls]
    chunks = list(_chunks(many))
    return {
        "stream": lambda: sum(1 for _ in client.embed_stream(many)),
        "stream_unread": lambda: _unread(target, chunks),
        "unary": lambda: len(client.embed(many)),
        "single": lambda: sum(len(client.embed([text])) for text in few),
        "clients": lambda: len(crowd.embed(few)),
    }


def _check_tokens(client: Client) -> None:
    counted = client.embed(texts.of_sixteen_tokens(CHUNK_TEXTS)).tokens
    assert (counted == 16).all(), f"texts have {counted} tokens, not 16 each"


def _chunks(many: list[str]) -> Iterator[bytes]:
    for start in range(0, len(many), CHUNK_TEXTS):
        part = many[start : start + CHUNK_TEXTS]
        ids = range(start, start + len(part))
        yield pb.EmbedStreamRequest(ids=ids, texts=part).SerializeToString()


def _unread(target: str, chunks: list[bytes]) -> int:
    """Send chunks that are bytes already, count replies by their bytes."""
    received = 0
    with grpc.insecure_channel(target) as channel:
        stream: Any = channel.stream_stream(_STREAM)  # bytes in, bytes out
        for reply in stream(iter(chunks)):
            received += len(reply) // (4 * DIM)  # the rest of a message is far less than a row
    return received


def _long_stream(target: str, server_pid: int, sizes: Sizes) -> dict[str, Any]:
    """A client in a process of its own, so that nothing else is in its memory."""
    arguments = [target, server_pid, sizes.streamed_texts, sizes.warm_texts]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stream_client", *map(str, arguments)],
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
