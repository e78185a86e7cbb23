"""A real server around a model that costs nothing: `python -m benchmarks.free_server [FRONTS]`.

Sockets, protobuf, tokenizer, queue, batches, rows and replies are the real ones. The model hands
out rows that were made before, as a very fast device would; limits are those of a GPU.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.sizes import SEED
from benchmarks.tokenizer import QUERY_PROMPT, train
from qwire_server import logs
from qwire_server.api.served import MAX_MESSAGE_BYTES, Limits, Served
from qwire_server.checkpoint.model_prompts import INSTRUCTION_TEMPLATE, Prompts
from qwire_server.load import LoadedModel
from qwire_server.model.launched import timed
from qwire_server.processes.supervisor import serve_in_processes
from qwire_server.serve import Server
from qwire_server.settings import load as load_settings
from qwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qwire_server.engine.work import TokenIds
    from qwire_server.model.launched import Ran
    from qwire_server.settings import Settings

DIM = 1024  # of Qwen3-Embedding-0.6B
BATCH_TOKENS = 16384  # the default on a GPU
_MAX_TOKENS = 512
_ROWS = BATCH_TOKENS // 8  # texts have 16 tokens; shorter ones would see rows repeat


class FreeRunner:
    """Answers each batch with rows of a fixed table."""

    runs_ahead = False

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._rows = np.random.default_rng(SEED).normal(size=(_ROWS, DIM)).astype(np.float32)

    def launch(self, token_ids: Sequence[TokenIds], _hints: Sequence[int] = ()) -> Ran:
        """Rows that have nothing to do with the texts."""
        return timed(lambda: self._run(len(token_ids)))

    def launch_plain(self, token_ids: Sequence[TokenIds]) -> Ran:
        """The same."""
        return self.launch(token_ids)

    def _run(self, count: int) -> NDArray[np.float32]:
        return self._rows[:count] if count <= _ROWS else np.resize(self._rows, (count, DIM))


def load_free(settings: Settings) -> LoadedModel:
    """What `load_model` gives, without a model."""
    rust = train()
    served = Served(
        model="free",
        revision="",
        fingerprint="free",
        languages=("en",),
        native_dimensions=DIM,
        min_dimensions=32,
        max_tokens=_MAX_TOKENS,
        pooling="last",
        prompts=Prompts(QUERY_PROMPT, "", INSTRUCTION_TEMPLATE),
        device="cpu",
        dtype="float32",
        limits=Limits(
            max_texts=settings.max_texts,
            max_text_bytes=settings.max_text_bytes,
            max_message_bytes=MAX_MESSAGE_BYTES,
            batch_tokens=BATCH_TOKENS,
            launch_ms=settings.launch_ms or 15,
            request_tokens=64 * BATCH_TOKENS,  # as `qwire_server.load` chooses
            stream_tokens=4 * BATCH_TOKENS,
        ),
    )
    return LoadedModel(served, Tokenizer(rust, _MAX_TOKENS), FreeRunner(rust.get_vocab_size()))


async def serve(load: Callable[[Settings], LoadedModel] = load_free) -> int:
    """Serve on a free port until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = Server(
        load_settings(["--model", "free", "--grpc-port", "0", "--http-port", "0"]), load=load
    )
    await server.start()
    return await server.run(stopping)


async def serve_fronts(fronts: int) -> int:
    """The same with so many fronts, in processes of their own."""
    ports = ["--grpc-port", "0", "--http-port", "0", "--fronts", str(fronts)]
    return await serve_in_processes(load_settings(["--model", "free", *ports]), load_free)


if __name__ == "__main__":
    logs.configure("text", "info")
    several = int(sys.argv[1]) if sys.argv[1:] else 0
    raise SystemExit(asyncio.run(serve_fronts(several) if several else serve()))
