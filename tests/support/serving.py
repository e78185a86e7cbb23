"""A real server on a real socket in this event loop, with a real or a fake model behind it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import embedding_pb2_grpc as pb_grpc
from qwire.v1 import rerank_pb2_grpc as rank_grpc
from qwire_server.api.served import MAX_MESSAGE_BYTES, Limits, Served
from qwire_server.checkpoint.model_prompts import INSTRUCTION_TEMPLATE, Prompts
from qwire_server.load import LoadedModel
from qwire_server.serve import Server
from qwire_server.settings import Settings
from qwire_server.text.tokenizer import Tokenizer
from support.machine_speed import hang_limit
from support.models import QUERY_PROMPT, qwen_tokenizer
from support.runners import DIM, FakeRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from numpy.typing import NDArray

    from qwire_server.engine.observer import (
        AnswerRecord,
        BatchRecord,
        QueueRecord,
        ReloadRecord,
        RequestRecord,
    )
    from qwire_server.load_reranker import LoadedReranker

MAX_TOKENS = 128
FAKE_ID = "Acme/Fake-Embedding-0.1B"


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[BatchRecord] = []
        self.queues: list[QueueRecord] = []
        self.answers: list[AnswerRecord] = []
        self.requests: list[RequestRecord] = []
        self.reloads: list[ReloadRecord] = []

    def batch(self, record: BatchRecord) -> None:
        self.batches.append(record)

    def queue(self, look: Callable[[], QueueRecord]) -> None:
        self.queues.append(look())

    def answer(self, record: AnswerRecord) -> None:
        self.answers.append(record)

    def request(self, record: RequestRecord) -> None:
        self.requests.append(record)

    def reload(self, record: ReloadRecord) -> None:
        self.reloads.append(record)


def fake_model(runner: FakeRunner, **limits: int) -> LoadedModel:
    """A fake model with a real tokenizer; its rows depend on the token ids only."""
    sizes: dict[str, Any] = {
        "launch_ms": 15.0,
        "max_texts": 100,
        "max_text_bytes": 4096,
        "max_message_bytes": MAX_MESSAGE_BYTES,
        "batch_tokens": 256,
        "request_tokens": 4096,
        "stream_tokens": 1024,
        **limits,
    }
    served = Served(
        model=FAKE_ID,
        revision="r1",
        fingerprint="f1",
        languages=("mul",),
        native_dimensions=runner.dim,
        min_dimensions=2,
        max_tokens=MAX_TOKENS,
        pooling="last",
        prompts=Prompts(
            QUERY_PROMPT, "", INSTRUCTION_TEMPLATE, {"query": QUERY_PROMPT, "document": ""}
        ),
        device="cpu",
        dtype="float32",
        limits=Limits(**sizes),
    )
    return LoadedModel(served, Tokenizer(qwen_tokenizer(), MAX_TOKENS), runner)


@dataclass
class Running:
    """A running server and what speaks to it."""

    server: Server
    channel: grpc.aio.Channel
    observer: Recorder
    runner: FakeRunner | None = None
    stub: Any = field(init=False)
    ranking: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = pb_grpc.EmbeddingStub(self.channel)
        self.ranking = rank_grpc.RerankingStub(self.channel)

    async def embed(self, *texts: str, metadata: Any = None, **options: Any) -> NDArray[np.float32]:
        """Unary call; rows as float32."""
        request = pb.EmbedRequest(texts=texts, options=pb.EmbedOptions(**options))
        return rows_of((await self.stub.Embed(request, metadata=metadata)).vectors)


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds; the test's time limit is the only other way out."""
    while not condition():
        await asyncio.sleep(0.001)


def rows_of(vectors: pb.Vectors) -> NDArray[np.float32]:
    """Float32 rows of a reply."""
    assert vectors.encoding == pb.ENCODING_FLOAT32
    return np.frombuffer(vectors.data, "<f4").reshape(vectors.rows, vectors.dim)


@asynccontextmanager
async def serving(
    load: Callable[[Settings], LoadedModel],
    *,
    runner: FakeRunner | None = None,
    alive_seconds: float = 10,
    load_ranker: Callable[[Settings, int], LoadedReranker] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Start a server; stop it at the end, whatever happened."""
    observer = Recorder()
    preset = {"model": "demo", "grpc_port": 0, "http_port": "off", "drain_seconds": hang_limit(5)}
    chosen = Settings(**{**preset, **settings})
    server = Server(chosen, observer, load, alive_seconds, load_ranker=load_ranker)
    await server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        try:
            yield Running(server, channel, observer, runner)
        finally:
            if runner:
                runner.gate.set()
            await server.stop()
    assert server.books.open == 0, f"a text was lost, or answered twice: {server.books}"


@asynccontextmanager
async def fake_serving(
    settings: dict[str, Any] | None = None,
    *,
    alive_seconds: float = 10,
    dim: int = DIM,
    **limits: int,
) -> AsyncIterator[Running]:
    """A server with a fake model."""
    runner = FakeRunner(dim)
    loaded = fake_model(runner, **limits)
    async with serving(
        lambda _: loaded, runner=runner, alive_seconds=alive_seconds, **(settings or {})
    ) as running:
        yield running
