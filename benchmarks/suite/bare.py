"""The server's own forward in a process without a server: `python -m benchmarks.suite.bare`.

Texts are tokenised before the clock runs, and the next batch is launched before the last one is
back, so this is what the device does when nothing is in its way. Batches are taken first come,
first served, up to the server's budget, as it does.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.local import batched
from benchmarks.rounds import digits
from benchmarks.shapes import read_shape
from benchmarks.sizes import CHUNK_TEXTS
from benchmarks.suite.measure import milliseconds, rates
from benchmarks.suite.worker import answer
from benchmarks.suite.workloads import Workload
from benchmarks.texts import QUERY
from qwire_server.checkpoint.source import find
from qwire_server.engine.rows import finish
from qwire_server.engine.work import RowForm
from qwire_server.load import load_model
from qwire_server.settings import load as load_settings
from qwire_server.text.prompts import InputType, prompt_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.engine.work import TokenIds
    from qwire_server.model.launched import Launched

_PRODUCT_REPEATS = {"cuda": 20, "cpu": 2}


class Bare:
    """A model that the server would load with these flags, called directly."""

    def __init__(self, flags: list[str]) -> None:
        began = time.perf_counter()
        settings = load_settings(flags)
        self._loaded = load_model(settings)
        self._seconds = time.perf_counter() - began
        self._shape = read_shape(find(settings.model).folder)
        served = self._loaded.served
        self._budget = served.limits.batch_tokens
        self._device = "cpu" if served.device == "cpu" else "cuda"
        self._dtype = getattr(torch, served.dtype)

    def about(self) -> dict[str, Any]:
        """What was loaded, and how."""
        served = self._loaded.served
        return {
            "device": served.device,
            "dtype": served.dtype,
            "batch_tokens": self._budget,
            "max_tokens": served.max_tokens,
            "load_seconds": digits(self._seconds),
            "memory": self._loaded.memory,
            "tokens_around": self._tokens("the") - 1,
            "prompt_tokens": self._tokens(QUERY, queries=True) - self._tokens(QUERY),
        }

    def product(self, sides: list[int]) -> dict[str, float]:
        """Operations a second of square products of random matrices, by side; the best of some."""
        return {str(side): digits(self._product(side)) for side in sides}

    def forward(self, workload: dict[str, Any], texts: int, seconds: float) -> dict[str, Any]:
        """Batches of these texts, again and again until the time is over."""
        kind = Workload(**workload)
        began = time.perf_counter()
        ids, shared = self._ids(kind.texts(texts), queries=kind.queries)
        tokenising = time.perf_counter() - began
        listed = list(batched(ids, self._budget))
        self._run(listed[:2], shared)
        began, rounds, saved = time.perf_counter(), 0, 0
        while rounds == 0 or time.perf_counter() - began < seconds:
            saved += self._run(listed, shared)
            rounds += 1
        taken = time.perf_counter() - began
        tokens = sum(map(len, ids))
        return {
            **rates(rounds * len(ids), rounds * tokens, taken),
            "batches": rounds * len(listed),
            "tokens_per_text": digits(tokens / len(ids)),
            "computed_per_text": digits((rounds * tokens - saved) / (rounds * len(ids))),
            "flops_per_token": digits(self._shape.flops(map(len, ids)) / tokens),
            "tokenised_per_second": digits(tokens / tokenising),
        }

    def query(self, times: int) -> dict[str, float]:
        """Milliseconds of one question's forward, tokenised before."""
        batch, shared = self._ids([QUERY], queries=True)
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            self._run([batch], shared)
            taken.append(time.perf_counter() - began)
        return milliseconds(taken)

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Of each text alone."""
        form = RowForm(self._loaded.served.native_dimensions)
        ids, _ = self._ids(texts)
        rows = [self._loaded.runner.launch([each]).wait().rows for each in ids]
        return [finish(row, form)[0].tolist() for row in rows]

    def _tokens(self, text: str, *, queries: bool = False) -> int:
        (ids,), _ = self._ids([text], queries=queries)
        return len(ids)

    def _ids(self, texts: Sequence[str], *, queries: bool = False) -> tuple[list[TokenIds], int]:
        """Of each text; and how many leading tokens they share, as the server would hint."""
        input_type = InputType.QUERY if queries else InputType.DOCUMENT
        prompt = prompt_for(self._loaded.served.prompts, input_type, None)
        ids: list[TokenIds] = []
        for start in range(0, len(texts), CHUNK_TEXTS):
            encoded = self._loaded.tokenizer.encode(texts[start : start + CHUNK_TEXTS], prompt)
            ids += encoded.ids
        return ids, encoded.shared

    def _run(self, listed: list[list[TokenIds]], shared: int) -> int:
        """Batch after batch; how many tokens were not computed, because others share them."""
        saved = 0
        ahead: Launched | None = None
        for batch in listed:
            launched = self._loaded.runner.launch(batch, [shared] * len(batch))
            saved += sum(ahead.wait().saved) if ahead else 0
            ahead = launched
        return saved + (sum(ahead.wait().saved) if ahead else 0)

    def _product(self, side: int) -> float:
        left, right = (
            torch.randn(side, side, device=self._device, dtype=self._dtype) for _ in range(2)
        )
        return max(2 * side**3 / self._product_seconds(left, right) for _ in range(2))

    def _product_seconds(self, left: torch.Tensor, right: torch.Tensor) -> float:
        """Of one, by the mean of some; the first warms up."""
        (left @ right).sum().item()
        began = time.perf_counter()
        repeats = _PRODUCT_REPEATS[self._device]
        for _ in range(repeats):
            product = left @ right
        if product.is_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / repeats


if __name__ == "__main__":
    bare = Bare(sys.argv[1:])
    answer(
        {
            "about": bare.about,
            "product": bare.product,
            "forward": bare.forward,
            "query": bare.query,
            "vectors": bare.vectors,
        }
    )
