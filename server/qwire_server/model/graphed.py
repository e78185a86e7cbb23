"""Small batches through graphs, others as they are; which is which was measured at start.

The device is behind `Graphs`: `model.cuda_graphs` has the real ones. Nothing here knows CUDA.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from qwire_server.model.buckets import BUCKETS, Slots, choose
from qwire_server.model.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.model.buckets import Bucket
    from qwire_server.model.forward import PackedForward
    from qwire_server.model.opaque import OpaqueForward
    from qwire_server.model.packing import Packed

    Replay = Callable[[], torch.Tensor]

_LOG = logging.getLogger("qwire.server")
_ROUNDS = 5


class Graphs(Protocol):
    """Makes graphs; all are replayed in the order of one stream."""

    def capture(self, run: Replay) -> Replay:
        """A function that does what `run` did, into the same memory each time.

        Raises:
            torch.OutOfMemoryError: there is no room for it.
        """

    def bytes(self) -> int:
        """Device memory that they take up, together."""


class GraphedForward:
    """The forward by graphs where these are faster. Captures when it is made.

    Args:
        plain: runs what no graph holds.
        device: of its model.
        batch_tokens: largest batch that comes; larger buckets are not captured.
        graphs: makes them.
        buckets: sizes to try.
    """

    def __init__(
        self,
        plain: OpaqueForward,
        device: torch.device,
        batch_tokens: int,
        graphs: Graphs,
        buckets: Sequence[Bucket] = BUCKETS,
    ) -> None:
        self._plain = plain
        self._graphs = graphs
        self._held: dict[Bucket, tuple[Slots, Replay]] = {}
        # Largest first: the smaller ones find room in its memory.
        for bucket in sorted((b for b in buckets if b.tokens <= batch_tokens), reverse=True):
            self._capture(Slots(bucket, device))
        self._buckets = sorted(self._held)

    def __repr__(self) -> str:
        sizes = [bucket.tokens for bucket in self._buckets]
        return f"<GraphedForward {sizes} {self._graphs.bytes() / 2**20:.0f} MiB>"

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Rows, (n, row dim) float32 on the device, in packed order."""
        sequences = len(packed.offsets) - 1
        bucket = choose(self._buckets, packed.ids.shape[1], sequences)
        return self._plain(packed) if bucket is None else self._replayed(bucket, packed)

    def keep_faster(self, device: torch.device) -> None:
        """Measure each bucket against the plain forward, half-way full; keep what is faster."""
        smaller = 0
        for bucket in self._buckets:
            packed = _half_way(smaller, bucket, device)
            smaller = bucket.tokens
            graph, plain = _seconds(
                partial(self._replayed, bucket, packed), partial(self._plain, packed)
            )
            _LOG.info(
                "%d tokens: %.2f ms by the graph for %d, %.2f ms without",
                packed.ids.shape[1],
                graph * 1e3,
                bucket.tokens,
                plain * 1e3,
            )
            if graph >= plain:
                del self._held[bucket]
        self._buckets = sorted(self._held)

    def _capture(self, slots: Slots) -> None:
        tensors = (slots.ids, slots.positions, slots.offsets)
        tokens = slots.bucket.tokens
        try:
            replay = self._graphs.capture(partial(self._plain.rows, *tensors, tokens))
        except torch.OutOfMemoryError as error:
            _LOG.warning("no graph for %d tokens: %s", tokens, str(error).split(". ")[0])
        else:
            self._held[slots.bucket] = slots, replay

    def _replayed(self, bucket: Bucket, packed: Packed) -> torch.Tensor:
        slots, replay = self._held[bucket]
        slots.fill(packed)
        # Cloned, because the next replay writes there while these may still be wanted.
        return replay()[: len(packed.offsets) - 1].clone()


def try_graphs(plain: OpaqueForward, device: torch.device, batch_tokens: int) -> PackedForward:
    """Graphs where they are faster, or a loud warning and the forward without them."""
    from qwire_server.model.cuda_graphs import CudaGraphs  # noqa: PLC0415  needs a GPU

    began = time.monotonic()
    try:
        forward = GraphedForward(plain, device, batch_tokens, CudaGraphs(device))
        forward.keep_faster(device)
    except Exception as error:  # noqa: BLE001  whatever CUDA forbids during a capture
        _LOG.warning(
            "NO CUDA GRAPHS, short batches take longer: %s; --cuda-graphs off says that this is "
            "meant",
            (str(error).strip() or type(error).__name__).splitlines()[0],
        )
        return plain
    _LOG.info("graphs made and measured in %.1f s: %r", time.monotonic() - began, forward)
    return forward


def _half_way(smaller: int, bucket: Bucket, device: torch.device) -> Packed:
    """A batch between the next smaller bucket and this one, of half as many texts as it holds."""
    count = bucket.slots // 2
    length = max(1, (smaller + bucket.tokens) // 2 // count)
    with torch.inference_mode():
        return pack([np.zeros(length, np.int32)] * count, device)


def _seconds(*runs: Replay) -> list[float]:
    """Median time until the rows are back, in turns, because machines change their pace."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(_ROUNDS):
        for times, run in zip(taken, runs, strict=True):
            began = time.perf_counter()
            run().cpu()
            times.append(time.perf_counter() - began)
    return [median(times) for times in taken]
