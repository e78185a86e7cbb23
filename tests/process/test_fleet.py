"""Three real servers behind one target, of which one is killed and one drains under load."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire
from support.fake_server import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.torch]

SECONDS_PER_TEXT = 0.002
TEXTS = [f"text {number}" for number in range(400)]


@dataclass
class Servers:
    """Their target, and their process ids in its order."""

    target: str
    pids: list[int]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Whoever watches their health must not hold up a drain, so they would take a minute to."""
    command = [sys.executable, "-m", "support.slow_fleet", "3", str(SECONDS_PER_TEXT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [*command, "drain_seconds=60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        told = [parent.stdout.readline().split() for _ in range(3)]
        try:
            yield Servers(
                ",".join(f"127.0.0.1:{port}" for port, *_ in told), [int(pid) for _, pid, _ in told]
            )
        finally:
            parent.stdin.close()


class Load:
    """Several callers at once; the servers are hit when some of their calls are answered."""

    def __init__(self, servers: Servers) -> None:
        self.target = servers.target
        self._answered = count(1)
        self._blows = {
            150: lambda: os.kill(servers.pids[0], signal.SIGKILL),
            400: lambda: os.kill(servers.pids[1], signal.SIGTERM),
        }
        self._lock = threading.Lock()

    def answered(self, *_told: object) -> None:
        with self._lock:
            if blow := self._blows.get(next(self._answered)):
                blow()

    def stream(self) -> int:
        with qwire.Client(self.target) as client:
            items = []
            for item in client.embed_stream(TEXTS, chunk_size=8, window=64):
                items.append(item)
                self.answered()
        assert [item.id for item in items] == list(range(len(TEXTS)))
        return sum(item.error is None for item in items)

    def unary(self) -> int:
        with qwire.Client(self.target) as client:
            return len(client.embed(TEXTS, batch_size=2, progress=self.answered))

    def awaited(self) -> int:
        async def run() -> int:
            async with qwire.AsyncClient(self.target) as client:
                parts = [client.embed([text], progress=self.answered) for text in TEXTS[:200]]
                items = [item async for item in client.embed_stream(TEXTS, chunk_size=8)]
                done = await asyncio.gather(*parts)
            return sum(map(len, done)) + sum(item.error is None for item in items)

        return asyncio.run(run())

    def langchain(self) -> int:
        embeddings = QwireEmbeddings(target=self.target, batch_size=4)
        return len(embeddings.embed_documents(TEXTS)) + len([embeddings.embed_query("q")])

    def llama_index(self) -> int:
        model = QwireEmbedding(target=self.target, embed_batch_size=4)
        return len(model.get_text_embedding_batch(TEXTS[:200]))


def test_no_caller_sees_an_error_when_one_server_is_killed_and_one_drains(servers: Servers):
    load = Load(servers)
    ways = (load.stream, load.unary, load.awaited, load.langchain, load.llama_index)
    with ThreadPoolExecutor(len(ways)) as threads:
        answers = [way.result() for way in [threads.submit(way) for way in ways]]
    assert answers == [400, 400, 600, 401, 200]
    wait_until(lambda: not is_alive(servers.pids[1]), 30)
    with qwire.Client(servers.target) as client:
        assert np.isfinite(client.embed_query("q")).all()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
