"""Batches of a few fixed sizes: which one holds a batch, and how the batch is laid into it.

A CUDA graph replays the same kernels on the same memory, so a batch must take one of a few sizes.
A bucket has room for `tokens` and `slots` sequences. Sequences of the batch come first; slots that
are not used are empty, but for the last: it holds what is left of the tokens, as one sequence that
nobody reads, so that every token belongs to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.model.packing import Packed


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A size of batch: `tokens` in `slots` sequences, the one that fills it up included."""

    tokens: int
    slots: int

    def holds(self, tokens: int, sequences: int) -> bool:
        """Whether a batch fits, and leaves a token: each slot must begin where there is one."""
        return tokens < self.tokens and sequences < self.slots


# Steps of a half to a third, because a batch pays for its whole bucket. The packed kernel starts
# one block for each 128 tokens of the bucket, slot and head, most of them to find nothing to do: 16
# slots keep that below the work itself, and 4,096 tokens fill a GPU without graphs (estimates; the
# choice is measured at start).
BUCKETS = tuple(
    Bucket(tokens, 16 if tokens < 1024 else 32)
    for tokens in (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
)


def choose(buckets: Sequence[Bucket], tokens: int, sequences: int) -> Bucket | None:
    """The smallest of the buckets, sorted by size, that holds the batch; None if none does."""
    return next((b for b in buckets if b.holds(tokens, sequences)), None)


class Slots:
    """The fixed memory of one bucket, and the batch that is in it.

    Attributes:
        ids: (1, tokens) int64; beyond the batch, whatever was there before: valid, and not read.
        positions: (1, tokens) int64, likewise.
        offsets: (slots + 1,) int32.
    """

    def __init__(self, bucket: Bucket, device: torch.device) -> None:
        self.bucket = bucket
        with torch.inference_mode():
            self.ids = torch.zeros(1, bucket.tokens, dtype=torch.int64, device=device)
            self.positions = torch.zeros_like(self.ids)
            self.offsets = torch.zeros(bucket.slots + 1, dtype=torch.int32, device=device)
            self.offsets[-1] = bucket.tokens

    def fill(self, packed: Packed) -> None:
        """Lay a batch into it; the device copies, nothing waits."""
        tokens, ends = packed.ids.shape[1], len(packed.offsets)
        with torch.inference_mode():
            self.ids[:, :tokens].copy_(packed.ids)
            self.positions[:, :tokens].copy_(packed.positions)
            self.offsets[:ends].copy_(packed.offsets)
            self.offsets[ends:-1].fill_(tokens)
