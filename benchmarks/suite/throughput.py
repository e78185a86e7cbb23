"""One kind of texts: offered as streams, beside the bare forward and sentence-transformers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import digits
from benchmarks.suite.sizes import CHUNK_TEXTS, STREAMS

if TYPE_CHECKING:
    from benchmarks.suite.stage import Stage
    from benchmarks.suite.workloads import Workload

CHUNK_BATCHES = 4  # a message holds no more than so many batches, where texts are long
_BARE_BATCHES = 6  # of different texts; run again and again
# Short texts come faster from the bare forward than through any socket.
_MOST_TEXTS_PER_SECOND = 8000
_PADDED_TOKENS = 2**18  # more at once than any GPU has memory for in a padded batch


def measure(stage: Stage, workload: Workload) -> dict[str, Any]:
    """Rates of all ways, and what they are of each other and of the hardware.

    Raises:
        Unfit: the model takes no such texts.
    """
    kind = stage.fitted(workload)
    budget = stage.about["batch_tokens"]
    bare = stage.bare.ask(
        "forward",
        workload=kind.as_json(),
        texts=max(8, _BARE_BATCHES * budget // (kind.tokens + kind.prompt)),
        seconds=stage.sizes.bare,
    )
    peers = _peers(stage, kind, bare) if workload.name in stage.sizes.peer_workloads else {}
    served = _served(stage, kind, bare)
    best, rate = max(stage.products.values()), served["tokens_per_second"]
    # What was not computed again is no arithmetic.
    computed = bare["computed_per_text"] / bare["tokens_per_text"]
    return {
        "workload": kind.as_json(),
        "served": served,
        "bare": bare,
        **peers,
        "of_bare": digits(rate / bare["tokens_per_second"]),
        "of_product": digits(rate * computed * bare["flops_per_token"] / best),
        "over": {name: digits(rate / peer["tokens_per_second"]) for name, peer in peers.items()},
    }


def streamed(stage: Stage, kind: Workload, texts: int) -> dict[str, Any]:
    """So many texts through eight streams, with no question expected.

    Raises:
        RuntimeError: a text was not answered by a vector, or has other tokens than it should.
    """
    chunk = kind.chunk_texts(CHUNK_TEXTS, CHUNK_BATCHES * stage.about["batch_tokens"])
    stage.await_no_questions()
    (served,) = stage.offer(
        "streams", workload=kind.as_json(), texts=texts, streams=STREAMS, chunk_texts=chunk
    )
    if served["texts"] != texts or served["tokens"] != kind.tokens_of(texts):
        raise RuntimeError(
            f"{texts} texts of {kind.tokens_of(texts)} tokens were sent, {served['texts']} of "
            f"{served['tokens']} answered"
        )
    return {"streams": STREAMS, "chunk_texts": chunk, **served}


def _served(stage: Stage, kind: Workload, bare: dict[str, Any]) -> dict[str, Any]:
    """For about as long as the bare forward would need."""
    wanted = min(bare["texts_per_second"], _MOST_TEXTS_PER_SECOND) * stage.sizes.stream
    chunk = kind.chunk_texts(CHUNK_TEXTS, CHUNK_BATCHES * stage.about["batch_tokens"])
    chunks = max(STREAMS, math.ceil(wanted / chunk))
    return streamed(stage, kind, chunks * chunk)


def _peers(stage: Stage, kind: Workload, bare: dict[str, Any]) -> dict[str, Any]:
    if "sentence-transformers" not in stage.peers:
        return {}
    seconds, sizes = stage.sizes.peer, stage.sizes.batch_sizes
    most = math.ceil(bare["texts_per_second"] * seconds) + max(sizes)
    arrival = stage.peer.ask("arrival", workload=kind.as_json(), texts=most, seconds=seconds)
    longest = kind.most or kind.tokens
    fitting = [size for size in sizes if size * longest <= _PADDED_TOKENS] or [min(sizes)]
    texts = math.ceil(arrival["texts_per_second"] * 2 * seconds / len(fitting))
    best = stage.peer.ask(
        "best", workload=kind.as_json(), texts=max(texts, 2 * max(fitting)), sizes=fitting
    )
    dtype = stage.peer.ask("about")["dtype"]
    return {"st_arrival": {**arrival, "dtype": dtype}, "st_best": {**best, "dtype": dtype}}
