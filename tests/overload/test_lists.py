"""One client on an idle server: its lists and bursts end with results, at whatever speed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import openai
import pytest
from langchain_qwire import QwireEmbeddings
from llama_index.embeddings.qwire import QwireEmbedding

import qwire

# A request of 64 texts takes three times the client's timeout, and three requests fill the queue.
SECONDS_PER_TEXT = 0.05
TIMEOUT = 1.0
TEXTS = [f"text {number}" for number in range(160)]


@contextmanager
def slow_server(seconds_per_text: float, *settings: str) -> Iterator[tuple[str, str]]:
    """The addresses, for gRPC and HTTP, of a server with a sleep for a model."""
    command = [sys.executable, "-m", "support.slow_server", str(seconds_per_text), *settings]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout
            port, _, http_port = process.stdout.readline().split()
            yield f"127.0.0.1:{port}", f"http://127.0.0.1:{http_port}/v1"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    with slow_server(SECONDS_PER_TEXT, "queue_seconds=2") as (target, _):
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


@pytest.mark.torch
def test_a_burst_of_an_application_ends_without_a_refusal():
    """Two hundred requests of twelve texts: four times as much work as the queue takes."""

    def texts(request: int) -> list[str]:
        return [f"{request} {number}" for number in range(12)]

    async def burst(embed):
        return await asyncio.gather(*(embed(texts(request)) for request in range(200)))

    async def run(target: str, url: str):
        openai_client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        async with qwire.AsyncClient(target) as client, openai_client:
            await burst(client.embed_documents)
            model = (await client.describe()).model
            await burst(lambda some: openai_client.embeddings.create(model=model, input=some))
            return await client.stats()

    with slow_server(0.0015, "queue_seconds=1", "http_port=0") as (target, url):
        stats = asyncio.run(run(target, url))
    assert stats.failures == {}
    assert stats.texts == 2 * 200 * 12
