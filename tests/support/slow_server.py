"""A server with a sleep for a model: `python -m support.slow_server SECONDS [NAME=VALUE ...]`.

Its capacity is known (seconds a text), and low enough that a load generator on the same machine is
not what is measured. Callers say who they are with their key, as they will once keys are checked.
Prints its port, its process id and its HTTP port; the names are those of settings.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from qwire_server.engine.queue.cost import CostModel
from qwire_server.load import LoadedModel
from qwire_server.model.launched import timed
from qwire_server.serve import Server
from qwire_server.settings import Settings
from support.runners import DIM, VOCAB_SIZE, FakeRunner
from support.serving import MAX_TOKENS, fake_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qwire_server.model.launched import Launched

TOKENS = 4  # of the texts that the tests send


class SleepRunner:
    """Takes the same time for each text, and does nothing with it."""

    vocab_size = VOCAB_SIZE
    runs_ahead = False

    def __init__(self, seconds_per_text: float) -> None:
        self._seconds = seconds_per_text

    def launch(
        self, token_ids: Sequence[NDArray[np.int32]], _hints: Sequence[int] = ()
    ) -> Launched:
        return timed(lambda: self._run(len(token_ids)))

    def launch_plain(self, token_ids: Sequence[NDArray[np.int32]]) -> Launched:
        return self.launch(token_ids)

    def _run(self, texts: int) -> NDArray[np.float32]:
        time.sleep(self._seconds * texts)
        return np.ones((texts, DIM), np.float32)


def identify(context: Any) -> str:
    """The key, unchecked."""
    return str(dict(context.invocation_metadata()).get("authorization", "nobody"))


def slow_model(seconds: float) -> LoadedModel:
    """A model that takes so long for each text."""
    model = fake_model(FakeRunner(), batch_tokens=64 * MAX_TOKENS, stream_tokens=256 * TOKENS)
    return LoadedModel(
        model.served,
        model.tokenizer,
        SleepRunner(seconds),
        CostModel(per_token=seconds * 1e6 / TOKENS),
    )


async def main(seconds: float, arguments: Sequence[str]) -> None:
    settings: dict[str, Any] = {"model": "demo", "grpc_port": 0, "http_port": "off"}
    settings["drain_seconds"] = 5
    settings |= dict(argument.split("=", 1) for argument in arguments)
    slow = slow_model(seconds)
    server = Server(Settings(**settings), load=lambda _: slow, identify=identify)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await server.start()
    sys.stdout.write(f"{server.port} {os.getpid()} {server.http_port}\n")
    sys.stdout.flush()
    await server.run(stopping)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
