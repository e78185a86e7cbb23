"""Reranking beside sentence-transformers' CrossEncoder: `python -m benchmarks.rerank`.

One query, 100 documents of 200 tokens, the same weights on both sides: the shape of
Qwen3-Reranker-0.6B, a few of its layers, random. Three ways take turns, round after round:

    client    `Client.rerank`, a server in a process of its own
    default   `CrossEncoder.predict` in this process, its default batch size
    best      the same at the batch size that was fastest here

The cross-encoder is given the prompt written out, since it does not know it. Before that, both
score all documents once, and the largest difference is reported.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, process, texts
from benchmarks.rounds import digits, interleave, ratio, spread
from benchmarks.save import RESULTS, save, stem
from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Score(Protocol):
        """Scores at a batch size, of all documents or of the first so many."""

        def __call__(self, batch: int, most: int | None = None) -> list[float]:
            """Scores in the order of the documents."""


_DEFAULT_BATCH = 32  # of CrossEncoder.predict
_BATCHES = (4, 8, 16, 32)
_TRIED = 32  # documents that the best batch size is found with
_WORDS = {
    "client": "`Client.rerank`",
    "default": f"`CrossEncoder.predict`, its default batch of {_DEFAULT_BATCH}",
    "best": "`CrossEncoder.predict` at its best batch size",
}


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rerank", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=240, help="after which no round begins")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=200, help="of each document")
    parser.add_argument("--layers", type=int, default=2, help="of the 28")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, on both sides")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    chosen = parser.parse_args()
    process.settle(machine.cores(), spin=False)
    neighbours = machine.Neighbours()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(Path(scratch), chosen)
    result["about"]["machine"]["used_by_others"] = neighbours.share()
    print(table(result))
    save(result, chosen.out, stem(result["about"]) + "-rerank")


def measure(scratch: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Both sides, in turns."""
    from benchmarks.shaped import qwen3_reranker_shaped  # noqa: PLC0415  torch, after `settle`

    folder = qwen3_reranker_shaped(scratch / "reranker", chosen.layers)
    documents = texts.of_words(chosen.documents, chosen.tokens)
    theirs = cross_encoder(folder, documents, chosen.device, chosen.dtype)
    command = ["qwire_server", "--model", "none", "--reranker", str(folder), "--grpc-port", "0"]
    command += ["--http-port", "off"]
    command += ["--device", chosen.device, "--dtype", chosen.dtype]
    with process.ServerProcess(command) as server, Client(server.target(), timeout=600) as client:
        ranking = client.rerank(texts.QUERY, documents)
        difference = max(
            abs(a - b) for a, b in zip(ranking.scores, theirs(_DEFAULT_BATCH), strict=True)
        )
        batch = best_batch(theirs)
        rates = interleave(
            {
                "client": lambda: len(client.rerank(texts.QUERY, documents)),
                "default": lambda: len(theirs(_DEFAULT_BATCH)),
                "best": lambda: len(theirs(batch)),
            },
            rounds=chosen.rounds,
            seconds=chosen.seconds,
        )
    return {
        "about": {
            **machine.about(),
            "documents": chosen.documents,
            "tokens_of_a_document": chosen.tokens,
            "tokens_of_a_pair": int(ranking.tokens.max()),
            "layers": chosen.layers,
            "device": chosen.device,
            "dtype": chosen.dtype,
            "best_batch": batch,
            "largest_difference_of_scores": digits(difference),
        },
        "words": _WORDS,
        "pairs_per_second": {name: spread(found) for name, found in rates.items()},
        "times_as_fast": {
            name: ratio(rates["client"], rates[name]) for name in ("default", "best")
        },
    }


def cross_encoder(folder: Path, documents: Sequence[str], device: str, dtype: str) -> Score:
    """A function that scores documents as sentence-transformers does it."""
    import torch  # noqa: PLC0415  after `settle`
    from sentence_transformers import CrossEncoder  # noqa: PLC0415

    from qwire_server.text.pairs import (  # noqa: PLC0415
        QWEN_INSTRUCTION,
        QWEN_PREFIX,
        QWEN_SUFFIX,
        PairPrompt,
    )

    torch.set_num_threads(machine.cores())
    model = CrossEncoder(
        str(folder),
        device=device,
        activation_fn=torch.nn.Sigmoid(),
        model_kwargs={"dtype": getattr(torch, dtype)},
    )
    head = QWEN_PREFIX + PairPrompt(QWEN_INSTRUCTION).before_document(texts.QUERY, None)
    pairs = [(head, f" {document}{QWEN_SUFFIX}") for document in documents]

    def score(batch: int, most: int | None = None) -> list[float]:
        found: list[float] = model.predict(
            pairs[:most], batch_size=batch, show_progress_bar=False
        ).tolist()
        return found

    return score


def best_batch(score: Score) -> int:
    """The batch size that is fastest for some of the documents."""

    def way(size: int) -> Callable[[], int]:
        return lambda: len(score(size, _TRIED))

    rates = interleave({str(size): way(size) for size in _BATCHES}, rounds=2, seconds=60)
    return max(_BATCHES, key=lambda size: max(rates[str(size)]))


def table(result: dict[str, Any]) -> str:
    """For the terminal, and for a README."""
    lines = ["| | pairs/s | min to max |", "| --- | ---: | ---: |"]
    for name, found in result["pairs_per_second"].items():
        low, high = found["min"], found["max"]
        lines.append(
            f"| {result['words'][name]} | {found['median']:.1f} | {low:.1f} to {high:.1f} |"
        )
    about = result["about"]
    lines.append(
        f"\n{about['documents']} documents of {about['tokens_of_a_document']} tokens, "
        f"{about['tokens_of_a_pair']} with prompt and query; {about['layers']} layers, "
        f"{about['dtype']} on {about['device']}; best batch size {about['best_batch']}; scores "
        f"differ by {about['largest_difference_of_scores']:.1e} at most."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
