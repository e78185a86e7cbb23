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

    Attributes:
        computed: tokens, since it was made.
    """

    def __init__(self, model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        loaded = load_model(
            load_settings(["--model", model, "--device", "cpu", "--dtype", "float32"])
        )
        self.served = loaded.served
        self.batch_tokens = loaded.served.limits.batch_tokens
        self._tokenizer = loaded.tokenizer
        self._runner = loaded.runner
        self.computed = 0
        self._form = RowForm(loaded.served.native_dimensions)

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._tokenizer.encode(texts).tokens

    def embed(self, texts: Sequence[str], input_type: InputType = InputType.DOCUMENT) -> Rows:
        """Tokenise in chunks, then run batch after batch; float32 (texts, dim)."""
        return self.prompted(texts, prompt_for(self.served.prompts, input_type, None))

    def prompted(self, texts: Sequence[str], prompt: str, *, whole: bool = False) -> Rows:
        """The same behind a prompt, whose tokens are computed again for each text if `whole`."""
        ids: list[TokenIds] = []
        for start in range(0, len(texts), CHUNK_TEXTS):
            encoded = self._tokenizer.encode(texts[start : start + CHUNK_TEXTS], prompt)
            ids += encoded.ids
        shared = 0 if whole else encoded.shared
        rows = (self._run(batch, shared) for batch in batched(ids, self.batch_tokens))
        return np.concatenate([finish(pooled, self._form) for pooled in rows])

    def _run(self, batch: list[TokenIds], shared: int) -> Rows:
        ran = self._runner.launch(batch, [shared] * len(batch)).wait()
        self.computed += sum(map(len, batch)) - sum(ran.saved)
        return ran.rows

    def query(self, text: str) -> Rows:
        """One question, behind the model's query prompt."""
        return self.embed([text], InputType.QUERY)


def batched(ids: list[TokenIds], budget: int) -> Iterator[list[TokenIds]]:
    """First come, first served, up to so many tokens each."""
    batch: list[TokenIds] = []
    for each in ids:
        if batch and sum(map(len, batch)) + len(each) > budget:
            yield batch
            batch = []
        batch.append(each)
    yield batch
