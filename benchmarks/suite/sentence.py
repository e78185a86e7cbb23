"""sentence-transformers in a process of its own: `python -m benchmarks.suite.sentence`.

As its users have it: bf16 with SDPA on a GPU, float32 on a CPU, and `encode` does the rest.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.rounds import digits
from benchmarks.suite.measure import rates
from benchmarks.suite.worker import answer
from benchmarks.suite.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_BATCH = 32  # of SentenceTransformer.encode


class Peer:
    """One model, loaded."""

    def __init__(self, folder: str, device: str) -> None:
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        options = {"dtype": dtype, "attn_implementation": "sdpa"}
        self._model = SentenceTransformer(folder, device=device, model_kwargs=options)

    def about(self) -> dict[str, str]:
        """How it computes."""
        return {"dtype": str(next(self._model.parameters()).dtype).removeprefix("torch.")}

    def arrival(self, workload: dict[str, Any], texts: int, seconds: float) -> dict[str, Any]:
        """The default: batches of 32 in arrival order, until the time is over or the texts are."""
        kind = Workload(**workload)
        listed, done = kind.texts(texts), 0
        self._encode(kind, listed[:DEFAULT_BATCH], DEFAULT_BATCH)
        began = time.perf_counter()
        while done < len(listed) and (not done or time.perf_counter() - began < seconds):
            part = listed[done : done + DEFAULT_BATCH]
            self._encode(kind, part, DEFAULT_BATCH)
            done += len(part)
        return rates(done, kind.tokens_of(done), time.perf_counter() - began)

    def best(self, workload: dict[str, Any], texts: int, sizes: Sequence[int]) -> dict[str, Any]:
        """So many texts, sorted, in one call for each batch size; the fastest of them.

        A size that the device's memory is too small for is left out.
        """
        kind = Workload(**workload)
        listed = sorted(kind.texts(texts), key=len)
        tried: dict[int, float] = {}
        for size in sizes:
            with suppress(torch.OutOfMemoryError):
                self._encode(kind, listed[-size:], size)
                tried[size] = self._encode(kind, listed, size)
        size = min(tried, key=lambda each: tried[each])
        return {
            **rates(texts, kind.tokens_of(texts), tried[size]),
            "batch_size": size,
            "tried": {str(each): digits(texts / taken) for each, taken in tried.items()},
        }

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Of each text."""
        rows = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        listed: list[list[float]] = rows.astype(float).tolist()
        return listed

    def _encode(self, kind: Workload, texts: list[str], batch_size: int) -> float:
        """Seconds until the rows are numpy."""
        prompt = self._model.prompts.get("query") if kind.queries else None
        began = time.perf_counter()
        self._model.encode(
            texts,
            prompt=prompt or None,
            batch_size=batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return time.perf_counter() - began


if __name__ == "__main__":
    peer = Peer(*sys.argv[1:])
    answer(
        {"about": peer.about, "arrival": peer.arrival, "best": peer.best, "vectors": peer.vectors}
    )
