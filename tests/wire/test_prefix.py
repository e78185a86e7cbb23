"""Instructed queries through a real server: prefixes change what is computed, and no vector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwire.v1 import embedding_pb2 as pb
from support import local
from support.models import QUERY_PROMPT, tiny_qwen3
from support.reference import transformers_last_token
from support.serving import serving
from support.texts import HARD

if TYPE_CHECKING:
    from pathlib import Path

    from support.serving import Running

pytestmark = pytest.mark.timeout(60)

TASK = "Find the paragraph that answers a question about trains"


async def asked(running: Running) -> np.ndarray:
    """Two instructions and none, some at once, some one after the other."""
    parts = [await running.embed(query, input_type=pb.INPUT_TYPE_QUERY) for query in HARD[:4]]
    parts += await asyncio.gather(
        running.embed(*HARD, input_type=pb.INPUT_TYPE_QUERY),
        running.embed(*HARD, instruction=TASK),
        running.embed(*HARD),
        *(running.embed(query, instruction=TASK) for query in HARD[:4]),
    )
    return np.concatenate(parts)


async def test_instructed_queries_have_the_same_vectors_with_the_setting_on_and_off(tmp_path: Path):
    """And those of transformers."""
    folder = tiny_qwen3(tmp_path / "model")
    vectors, saved, estimates = {}, {}, {}
    for setting in ("off", "64MiB"):
        loaded = local.load(folder, prefix_cache=setting)
        async with serving(lambda _, loaded=loaded: loaded, queue_seconds=1000) as running:
            vectors[setting] = await asked(running)
            saved[setting] = sum(batch.saved_tokens for batch in running.observer.batches)
            estimates[setting] = loaded.cost.reuse
    np.testing.assert_allclose(vectors["64MiB"], vectors["off"], atol=1e-5, rtol=0)
    theirs = transformers_last_token(folder, [QUERY_PROMPT + q for q in HARD[:4]], max_tokens=512)
    np.testing.assert_allclose(vectors["64MiB"][:4], theirs, atol=1e-5, rtol=0)
    assert saved["off"] == estimates["off"] == 0
    assert saved["64MiB"] > 17 * len(HARD)
    assert estimates["64MiB"] > 0


async def test_a_stream_of_queries_uses_prefixes_too(tmp_path: Path):
    loaded = local.load(tiny_qwen3(tmp_path / "model"))
    options = pb.EmbedOptions(input_type=pb.INPUT_TYPE_QUERY)
    async with serving(lambda _: loaded, queue_seconds=1000) as running:

        async def requests():
            for number in range(4):
                texts = [f"question {number} {i}" for i in range(32)]
                ids = [number * 32 + i for i in range(32)]
                yield pb.EmbedStreamRequest(ids=ids, texts=texts, options=options)

        answered = 0
        async for reply in running.stub.EmbedStream(requests()):
            answered += len(reply.ids)
        assert answered == 128
        assert sum(batch.saved_tokens for batch in running.observer.batches) > 17 * 100
