"""Every way in which a list of texts becomes vectors, each a function with the same signature.

All of them get the same texts, the same model in float32 and the same number of torch threads. The
client and its server share one machine's cores, as the in-process ways do not have to.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_qwire import QwireEmbeddings
from sentence_transformers import SentenceTransformer

from benchmarks.sizes import CLIENTS
from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.crowd import Crowd

    Embed = Callable[[list[str]], Any]  # a row for each text, in order

DESCRIPTIONS = {
    "bare": "bare packed forward, in process, tokenising included",
    "unary": "`Client.embed`",
    "stream": "`Client.embed_stream`",
    "langchain": "LangChain `embed_documents`",
    "clients": f"{CLIENTS} clients at once, one text a call",
    "st_arrival": "sentence-transformers, its default batch filled in arrival order",
    "st_list": "sentence-transformers, the whole list at its defaults (it sorts by length)",
    "st_best": "sentence-transformers, its best batch size on a list sorted by length",
}
ST_DEFAULT_BATCH = 32  # of SentenceTransformer.encode


def served_ways(target: str, crowd: Crowd) -> dict[str, Embed]:
    """The ways through a server."""
    client = Client(target)
    langchain = QwireEmbeddings(target=target)
    return {
        "unary": lambda texts: client.embed(texts).vectors,
        "stream": lambda texts: [item.embedding for item in client.embed_stream(texts)],
        "langchain": langchain.embed_documents,
        "clients": crowd.embed,
    }


class Peer:
    """sentence-transformers on the CPU, in this process."""

    def __init__(self, folder: str) -> None:
        self._model = SentenceTransformer(folder, device="cpu")
        self.best_batch = ST_DEFAULT_BATCH

    def find_best_batch(self, texts: list[str], sizes: Sequence[int]) -> dict[str, float]:
        """Time each batch size once on the sorted list; keep the fastest. Texts a second."""
        rates = {}
        for size in sizes:
            began = time.perf_counter()
            self._encode(sorted(texts, key=len), size)
            rates[size] = len(texts) / (time.perf_counter() - began)
        self.best_batch = max(rates, key=lambda size: rates[size])
        return {str(size): round(rate, 2) for size, rate in rates.items()}

    def ways(self) -> dict[str, Embed]:
        """The three ways in which it is used."""
        return {"st_arrival": self._arrival, "st_list": self._list, "st_best": self._best}

    def padded(self, tokens: Sequence[int]) -> dict[str, int]:
        """Tokens that two of the ways compute for texts with so many: the padding, too."""
        best, rows = self.best_batch, sorted(tokens)
        return {"st_arrival": _padded(tokens, ST_DEFAULT_BATCH), "st_best": _padded(rows, best)}

    def _arrival(self, texts: list[str]) -> Any:
        step = ST_DEFAULT_BATCH
        parts = [self._encode(texts[i : i + step], step) for i in range(0, len(texts), step)]
        return np.concatenate(parts)

    def _list(self, texts: list[str]) -> Any:
        return self._encode(texts, ST_DEFAULT_BATCH)

    def _best(self, texts: list[str]) -> Any:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = self._encode([texts[i] for i in order], self.best_batch)
        return rows[np.argsort(order)]

    def _encode(self, texts: list[str], batch_size: int) -> Any:
        return self._model.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )


def _padded(tokens: Sequence[int], size: int) -> int:
    batches = [tokens[i : i + size] for i in range(0, len(tokens), size)]
    return sum(max(batch) * len(batch) for batch in batches)
