"""One kind of texts: offered as streams, beside the bare forward and sentence-transformers."""

from __future__ import annotations

import math
import statistics
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

    Ways take turns, so that what disturbs the machine disturbs all; rates and ratios are medians.

    Raises:
        Unfit: the model takes no such texts.
    """
    kind = stage.fitted(workload)
    rounds: list[dict[str, Any]] = []
    for _ in range(stage.sizes.rounds):
        rounds.append(_round(stage, kind, rounds[0] if rounds else {}))
    median = {name: _middle([each[name] for each in rounds]) for name in rounds[0]}
    best, bare = max(stage.products.values()), median["bare"]
    # What was not computed again is no arithmetic.
    computed = bare["computed_per_text"] / bare["tokens_per_text"]
    flops = median["served"]["tokens_per_second"] * computed * bare["flops_per_token"]
    return {
        "workload": kind.as_json(),
        **median,
        "of_bare": _over(rounds, "bare"),
        "of_product": digits(flops / best),
        "over": {name: _over(rounds, name) for name in median if name.startswith("st_")},
        "rounds": {name: [_rate(each[name]) for each in rounds] for name in median},
    }


def _round(stage: Stage, kind: Workload, first: dict[str, Any]) -> dict[str, Any]:
    """Each way once."""
    budget = stage.about["batch_tokens"]
    bare = stage.bare.ask(
        "forward",
        workload=kind.as_json(),
        texts=max(8, _BARE_BATCHES * budget // (kind.tokens + kind.prompt)),
        seconds=stage.sizes.bare,
    )
    peers = {}
    if "sentence-transformers" in stage.peers and kind.name in stage.sizes.peer_workloads:
        peers = _peers(stage, kind, bare, first)
    return {"bare": bare, **peers, "served": _served(stage, kind, bare)}


def _middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(found, key=_rate)[len(found) // 2]


def _over(rounds: list[dict[str, Any]], name: str) -> float:
    ratios = [_rate(each["served"]) / _rate(each[name]) for each in rounds]
    return digits(statistics.median(ratios))


def _rate(found: dict[str, Any]) -> float:
    rate: float = found["tokens_per_second"]
    return rate


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


def _peers(
    stage: Stage, kind: Workload, bare: dict[str, Any], first: dict[str, Any]
) -> dict[str, Any]:
    seconds, sizes = stage.sizes.peer, stage.sizes.batch_sizes
    most = math.ceil(bare["texts_per_second"] * seconds) + max(sizes)
    arrival = stage.peer.ask("arrival", workload=kind.as_json(), texts=most, seconds=seconds)
    longest = kind.most or kind.tokens
    fitting = [size for size in sizes if size * longest <= _PADDED_TOKENS] or [min(sizes)]
    texts = math.ceil(arrival["texts_per_second"] * 2 * seconds / len(fitting))
    if first:
        fitting = [first["st_best"]["batch_size"]]
    best = stage.peer.ask(
        "best", workload=kind.as_json(), texts=max(texts, 2 * max(fitting)), sizes=fitting
    )
    dtype = stage.peer.ask("about")["dtype"]
    return {"st_arrival": {**arrival, "dtype": dtype}, "st_best": {**best, "dtype": dtype}}
