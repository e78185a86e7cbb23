"""Streams of both clients that outlive a real server with a real model, killed or stopped.

The many ways to break a stream are in tests/client, with a fake server that starts at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import qwire
from support.fake_process import Process

# A server takes seconds to load torch, and test machines are busy.
pytestmark = pytest.mark.timeout(240)

TEXTS = [f"{number} lines of text, of which this is the {number % 7}th" for number in range(300)]
BLOW_AT = 100


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    fixed = ("--grpc-port", "{port}", "--http-port", "off", "--dtype", "float32")
    with Process("-m", "qwire", "serve", "--model", "demo", *fixed) as running:
        running.keep_alive()  # as a supervisor does
        yield running


@pytest.fixture(scope="module")
def unbroken(process: Process):
    """What a server gives that nobody disturbs."""
    with qwire.Client(process.target) as client:
        return client.embed_documents(TEXTS)


def sync(target: str, blow: Callable[[], None]) -> list[qwire.StreamItem]:
    items = []
    with qwire.Client(target) as client:
        for item in client.embed_stream(TEXTS, chunk_size=8, window=64):
            items.append(item)
            if len(items) == BLOW_AT:
                blow()
    return items


def awaited(target: str, blow: Callable[[], None]) -> list[qwire.StreamItem]:
    async def stream() -> list[qwire.StreamItem]:
        items = []
        async with qwire.AsyncClient(target) as client:
            async for item in client.embed_stream(TEXTS, chunk_size=8, window=64):
                items.append(item)
                if len(items) == BLOW_AT:
                    blow()
        return items

    return asyncio.run(stream())


def check(items: list[qwire.StreamItem], unbroken: np.ndarray) -> None:
    """Each position once, in order, with its vector. Batch company moves the last digits."""
    assert [item.id for item in items] == list(range(len(TEXTS)))
    assert [item.error for item in items if item.error] == []
    vectors = np.stack([item.embedding for item in items])
    np.testing.assert_allclose(vectors, unbroken, atol=1e-5)


slow = pytest.mark.slow


@pytest.mark.parametrize("stream", [sync, pytest.param(awaited, marks=slow)])
def test_a_stream_outlives_a_server_that_is_killed(process: Process, unbroken, stream):
    before = len(process.statuses)
    check(stream(process.target, process.crash), unbroken)
    assert process.statuses[before:] == [-signal.SIGKILL]


@slow
@pytest.mark.parametrize("stream", [sync, awaited])
def test_a_stream_outlives_a_server_that_drains(process: Process, unbroken, stream):
    before = len(process.statuses)
    check(stream(process.target, process.drain), unbroken)
    assert process.statuses[before:] == [0]
