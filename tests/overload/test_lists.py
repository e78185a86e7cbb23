"""One client on an idle server: a list of any length ends with its result, however slow it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire

# A request of 64 texts takes three times the client's timeout, and three requests fill the queue.
SECONDS_PER_TEXT = 0.05
TIMEOUT = 1.0
TEXTS = [f"text {number}" for number in range(160)]


@contextmanager
def slow_server() -> Iterator[str]:
    """The address of a server with a sleep for a model."""
    command = [sys.executable, "-m", "support.slow_server", str(SECONDS_PER_TEXT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command.append("queue_seconds=2")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout
            yield f"127.0.0.1:{int(process.stdout.readline().split()[0])}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    with slow_server() as target:
        yield target


def embed_sync(target):
    with qwire.Client(target, timeout=TIMEOUT) as client:
        return client.embed_documents(TEXTS)


def embed_async(target):
    async def run():
        async with qwire.AsyncClient(target, timeout=TIMEOUT) as client:
            return await client.embed_documents(TEXTS)

    return asyncio.run(run())


def embed_langchain(target):
    return QwireEmbeddings(target=target, timeout=TIMEOUT).embed_documents(TEXTS)


def embed_llama_index(target):
    model = QwireEmbedding(target=target, timeout=TIMEOUT)
    return model.get_text_embedding_batch(TEXTS)


@pytest.mark.torch
@pytest.mark.parametrize("embed", [embed_sync, embed_async, embed_langchain, embed_llama_index])
def test_a_list_ends_though_each_request_takes_longer_than_the_timeout(slow, embed):
    assert np.asarray(embed(slow)).shape[0] == len(TEXTS)


@pytest.mark.torch
def test_lists_of_several_callers_end_on_a_slow_server(slow):
    async def run():
        async with qwire.AsyncClient(slow, timeout=TIMEOUT) as client:
            return await asyncio.gather(*(client.embed_documents(TEXTS[:40]) for _ in range(4)))

    assert [len(vectors) for vectors in asyncio.run(run())] == [40] * 4
