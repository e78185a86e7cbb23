"""A server that fails in every way, with words in its errors that must not get out.

`python -m support.canary_server JSON_FILE`: prints its ports; logs at debug level, for people to
stderr, for machines to the file. A text of 50 tokens and more has a row of NaN, one of 100 and more
brings the model down, "encoder" in it the tokenizer; what is raised quotes what was given, as
foreign libraries do.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qwire_server import logs
from qwire_server.load_reranker import LoadedReranker
from qwire_server.serve import Server
from qwire_server.settings import Settings
from qwire_server.text.pairs import PairPrompt
from qwire_server.text.tokenizer import Tokenizer
from support.models import qwen_tokenizer
from support.runners import FakeRunner
from support.serving import MAX_TOKENS, fake_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qwire_server.load import LoadedModel

TEXT = "CANARYTEXT"
VALUE = 31337.25  # of every vector, before it is normalised
NAN_TOKENS, FAIL_TOKENS = 50, 100


class Quoting(FakeRunner):
    """Raises what a text might have been."""

    def run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        if any(len(ids) >= FAIL_TOKENS for ids in token_ids):
            raise ValueError(f"no good: {TEXT}")
        rows = np.full_like(super().run(token_ids), VALUE)
        rows[[len(ids) >= NAN_TOKENS for ids in token_ids]] = np.nan
        return rows


class QuotingTokenizer(Tokenizer):
    """Raises with the texts that it was given."""

    def encode(self, texts, *args, **kwargs):
        if any("encoder" in text for text in texts):
            raise ValueError(f"cannot encode {texts}") from KeyError(texts[0])
        return super().encode(texts, *args, **kwargs)


def model(dim: int, name: str) -> LoadedModel:
    loaded = fake_model(Quoting(dim))
    return replace(
        loaded,
        served=replace(loaded.served, model=name),
        tokenizer=QuotingTokenizer(qwen_tokenizer(), MAX_TOKENS),
    )


async def main(json_file: str) -> None:
    logs.configure("text", "debug")
    for_machines = logging.FileHandler(json_file)
    for_machines.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(for_machines)
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(logs.in_loop)
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    server = Server(
        Settings(grpc_port=0, http_port=0, reranker="fake", http_token_ids=True),
        load=lambda _: model(8, "Acme/Embedding"),
        load_ranker=lambda *_: LoadedReranker(model(1, "Acme/Reranker"), PairPrompt("Rank")),
    )
    await server.start()
    sys.stdout.write(f"{server.port} {server.http_port}\n")
    sys.stdout.flush()
    await server.run(stopping)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
