"""A model that fails when it is told to, and whose every vector can be checked. No torch.

Its tokens are bytes, and a vector is a function of them: who knows the text knows the vector.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors

from qwire_server.api.served import MAX_MESSAGE_BYTES, Limits, Served
from qwire_server.checkpoint.model_prompts import Prompts
from qwire_server.engine.queue.cost import CostModel
from qwire_server.load import LoadedModel
from qwire_server.model.errors import DeviceLost, OutOfMemory
from qwire_server.model.launched import timed
from qwire_server.text.tokenizer import Tokenizer
from support.runners import row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qwire_server.model.launched import Launched

DIM = 16
MAX_TOKENS = 512
_END = "<end>"
_VOCAB = {byte: i for i, byte in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), _END])}
POISON = "poison"  # the beginning of a text that kills the process


class FaultRunner:
    """Gives each text its vector; each fault it is told strikes one batch.

    The faults: oom (memory runs out), nan (a row is not finite), raise (the model raises), wait
    (until it is told to go on), lost (the device is lost), hang (a forward never returns).

    Args:
        seconds: that a batch takes.
    """

    vocab_size = len(_VOCAB)
    runs_ahead = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.faults: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.go_on = threading.Event()
        self._seconds = seconds
        self._poison = tokenizer().encode([POISON]).ids[0][:-1]

    def launch(
        self, token_ids: Sequence[NDArray[np.int32]], _hints: Sequence[int] = ()
    ) -> Launched:
        fault = "" if self.faults.empty() else self.faults.get()
        return timed(lambda: self._run(token_ids, fault))

    def launch_plain(self, token_ids: Sequence[NDArray[np.int32]]) -> Launched:
        return timed(lambda: self._run(token_ids, ""))

    def _run(self, token_ids: Sequence[NDArray[np.int32]], fault: str) -> NDArray[np.float32]:
        time.sleep(self._seconds)
        if any(np.array_equal(ids[: len(self._poison)], self._poison) for ids in token_ids):
            os._exit(9)
        if fault == "wait":
            self.go_on.wait()
        if fault == "hang":
            threading.Event().wait()
        if fault == "lost":
            raise DeviceLost("CUDA error: an illegal memory access was encountered")
        if fault == "oom" and len(token_ids) > 1:
            raise OutOfMemory
        if fault == "raise":
            raise ValueError
        rows = np.stack([row(ids, DIM) for ids in token_ids])
        if fault == "nan":
            rows[0, 0] = np.nan
        return rows


def tokenizer() -> Tokenizer:
    """One token a byte, and one at the end."""
    rust = RustTokenizer(models.BPE(_VOCAB, []))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rust.decoder = decoders.ByteLevel()
    rust.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, _VOCAB[_END])]
    )
    return Tokenizer(rust, MAX_TOKENS)


def expected(texts: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of texts."""
    rows = np.stack([row(ids, DIM) for ids in tokenizer().encode(texts).ids])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def load(runner: FaultRunner) -> LoadedModel:
    """As `qwire_server.load.load_model`."""
    served = Served(
        model="Acme/Faulty",
        revision="r1",
        fingerprint="f1",
        languages=("mul",),
        native_dimensions=DIM,
        min_dimensions=DIM,
        max_tokens=MAX_TOKENS,
        pooling="last",
        prompts=Prompts(),
        device="cpu",
        dtype="float32",
        limits=Limits(
            max_texts=1024,
            max_text_bytes=65536,
            max_message_bytes=MAX_MESSAGE_BYTES,
            batch_tokens=2048,
            request_tokens=65536,
            launch_ms=200.0,
            stream_tokens=8192,
        ),
    )
    return LoadedModel(served, tokenizer(), runner, CostModel(per_token=1.0))
