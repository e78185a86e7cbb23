"""Real models, every way in turn: the demo model, and the Qwen3-0.6B shape cut to a few layers."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import idle, texts
from benchmarks.crowd import Crowd
from benchmarks.local import PackedForward
from benchmarks.process import ServerProcess
from benchmarks.rounds import digits, interleave, percentile, ratio, spread
from benchmarks.shaped import qwen3_shaped
from benchmarks.ways import Peer, served_ways
from qwire_server.checkpoint.source import find

if TYPE_CHECKING:
    from benchmarks.sizes import Sizes
    from benchmarks.ways import Embed

_WARM_TEXTS = 8


def measure_demo(sizes: Sizes, threads: int) -> dict[str, Any]:
    """The model that comes as a package: a BERT of 22M parameters, 6 layers."""
    return {
        "title": "demo model (all-MiniLM-L6-v2, 22M parameters)",
        **_measure("demo", sizes.demo_texts, sizes, threads),
    }


def measure_shaped(sizes: Sizes, threads: int) -> dict[str, Any]:
    """The shape of Qwen3-Embedding-0.6B, which has 28 layers, in fewer."""
    with tempfile.TemporaryDirectory() as folder:
        model = qwen3_shaped(Path(folder) / "qwen3-shaped", sizes.layers)
        return {
            "title": f"Qwen3-0.6B shape, {sizes.layers} of 28 layers, random weights",
            **_measure(str(model), sizes.shaped_texts, sizes, threads),
        }


def _measure(model: str, count: int, sizes: Sizes, threads: int) -> dict[str, Any]:
    flags = ["--model", model, "--grpc-port", "0", "--http-port", "off"]
    flags += ["--device", "cpu", "--dtype", "float32"]
    with ServerProcess(["qwire_server", *flags]) as server:
        bare = PackedForward(model, threads)  # while the server starts
        peer = Peer(str(find(model).folder))
        listed = texts.log_normal(count)
        target = server.target()
        crowd = Crowd(target)
        ways: dict[str, Embed] = {
            "bare": bare.embed,
            **served_ways(target, crowd),
            **peer.ways(),
        }
        try:
            agreement = _agreement(ways, listed[:_WARM_TEXTS])
            tried = peer.find_best_batch(listed, sizes.batch_sizes)
            crowd.seconds.clear()
            rates = _race(ways, listed, sizes)
        finally:
            crowd.close()
        return {
            "texts": _lengths(bare.tokens(listed)),
            "batch_tokens": bare.batch_tokens,
            "sentence_transformers": {"best_batch": peer.best_batch, "texts_per_second": tried},
            "smallest_cosine_to_bare": agreement,
            **_compared(rates),
            "clients_ms": {f"p{p}": percentile(crowd.seconds, p) * 1000 for p in (50, 99)},
            "idle": idle.measure(target, bare, sizes.queries),
        }


def _race(ways: dict[str, Embed], listed: list[str], sizes: Sizes) -> dict[str, list[float]]:
    def run(embed: Embed) -> int:
        return len(embed(listed))

    turns = {name: partial(run, embed) for name, embed in ways.items()}
    return interleave(turns, rounds=sizes.rounds, seconds=sizes.model_seconds)


def _compared(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Rates in texts a second, and ratios taken within each round."""
    return {
        "texts_per_second": {name: spread(values) for name, values in rates.items()},
        "of_bare": {name: ratio(values, rates["bare"]) for name, values in rates.items()},
        "stream_over": {
            name: ratio(rates["stream"], rates[name]) for name in rates if name.startswith("st_")
        },
    }


def _agreement(ways: dict[str, Embed], few: list[str]) -> dict[str, float]:
    """The worst cosine to the bare forward: ways that disagree must not be compared."""
    rows = {name: np.asarray(embed(few), np.float64) for name, embed in ways.items()}
    bare = rows.pop("bare")
    return {name: float(f"{(bare * each).sum(axis=1).min():.7f}") for name, each in rows.items()}


def _lengths(tokens: list[int]) -> dict[str, Any]:
    return {
        "count": len(tokens),
        "tokens": sum(tokens),
        "tokens_median": percentile(tokens, 50),
        "tokens_mean": digits(sum(tokens) / len(tokens)),
        "tokens_max": max(tokens),
    }
