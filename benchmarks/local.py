"""The bare packed forward, in this process: the server's own tokenizer, model and last steps.

No queue, no wire, no thread of its own: what is lost between this and the server is the price of
serving. Batches are taken first come, first served, up to the server's token budget, as it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.sizes import CHUNK_TEXTS
from qwire_server.engine.rows import finish
from qwire_server.engine.work import RowForm
from qwire_server.load import load_model
from qwire_server.settings import load as load_settings
from qwire_server.text.prompts import InputType, prompt_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qwire_server.engine.work import TokenIds

    Rows = NDArray[np.float32]


class PackedForward:
    """A model that the server would load, called directly.

    Args:
        model: what `qwire serve --model` takes.
        threads: for torch.
    """

    def __init__(self, model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        loaded = load_model(load_settings(["--model", model, "--device", "cpu"]))
        self.served = loaded.served
        self.batch_tokens = loaded.served.limits.batch_tokens
        self._tokenizer = loaded.tokenizer
        self._runner = loaded.runner
        self._form = RowForm(loaded.served.native_dimensions)

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._tokenizer.encode(texts).tokens

    def embed(self, texts: Sequence[str], input_type: InputType = InputType.DOCUMENT) -> Rows:
        """Tokenise in chunks, then run batch after batch; float32 (texts, dim)."""
        prompt = prompt_for(self.served.prompts, input_type, None)
        ids: list[TokenIds] = []
        for start in range(0, len(texts), CHUNK_TEXTS):
            ids += self._tokenizer.encode(texts[start : start + CHUNK_TEXTS], prompt).ids
        rows = (self._runner.launch(batch).wait().rows for batch in batches(ids, self.batch_tokens))
        return np.concatenate([finish(pooled, self._form) for pooled in rows])

    def query(self, text: str) -> Rows:
        """One question, behind the model's query prompt."""
        return self.embed([text], InputType.QUERY)


def batches(ids: list[TokenIds], budget: int) -> Iterator[list[TokenIds]]:
    """First come, first served, up to so many tokens each."""
    batch: list[TokenIds] = []
    for each in ids:
        if batch and sum(map(len, batch)) + len(each) > budget:
            yield batch
            batch = []
        batch.append(each)
    yield batch
