"""Lays sequences end to end, the way the packed forward wants them.

Sorted by length, so that equally long sequences are neighbours; the order of the rows is restored
afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qwire_server.model.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys come from in a batch in which some sequences have a prefix: K keys in all.

    Attributes:
        prefix: whose keys lie before the sequences' own.
        before: for each group, how many its sequences have before their own.
        rows: (K,) int64, which row each key is: of the prefix if that is kept, then of the batch.
        offsets: (n + 1,) int32, where the keys of each sequence begin; the last is K.
        max_length: of the sequence with most.
    """

    prefix: Prefix
    before: list[int]
    rows: torch.Tensor
    offsets: torch.Tensor
    max_length: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of n sequences with T tokens in all.

    A prefix that the batch computes is a sequence more: the first one, that belongs to no text.

    Attributes:
        ids: (1, T) int64.
        positions: (1, T) int64, from 0 in each sequence, or from the end of its prefix.
        offsets: (n + 1,) int32, where each sequence begins; the last is T.
        max_length: of the longest sequence.
        groups: (start, count, length) of each run of equally long sequences.
        order: of the texts; the packed text i is number order[i] of the batch.
        keys: None where each sequence attends to its own tokens only.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    offsets: torch.Tensor
    max_length: int
    groups: list[tuple[int, int, int]]
    order: NDArray[np.int64]
    keys: Keys | None = None


def pack(
    token_ids: Sequence[NDArray[np.int32]], device: torch.device, prefix: Prefix | None = None
) -> Packed:
    """Pack sequences, none of them empty, onto `device`; users of `prefix` without its tokens.

    What is served is packed on the host, and `staging` takes it to the device.
    """
    before = np.zeros(len(token_ids), dtype=np.int64)
    if prefix:
        before[prefix.users] = len(prefix.ids)
    lengths = np.array([len(ids) for ids in token_ids], dtype=np.int64) - before
    order = np.lexsort((before, lengths))
    lengths, before = lengths[order], before[order]
    parts = [token_ids[i][skipped:] for i, skipped in zip(order, before, strict=True)]
    if prefix and not prefix.layers:
        parts.insert(0, prefix.ids)
        lengths, before = np.insert(lengths, 0, len(prefix.ids)), np.insert(before, 0, 0)
    ids = np.concatenate(parts).astype(np.int64)
    offsets = _starts(lengths)
    positions = np.arange(len(ids)) - np.repeat(offsets[:-1] - before, lengths)
    runs = _runs(lengths, before)
    return Packed(
        ids=_to(ids[None], device),
        positions=_to(positions[None], device),
        offsets=_to(offsets.astype(np.int32), device),
        max_length=int(lengths.max()),
        groups=[run[:3] for run in runs],
        order=order,
        keys=_keys(prefix, lengths, before, [run[3] for run in runs], device) if prefix else None,
    )


def _keys(
    prefix: Prefix,
    lengths: NDArray[np.int64],
    before: NDArray[np.int64],
    of_groups: list[int],
    device: torch.device,
) -> Keys:
    """The prefix lies in the first rows, whether it is kept or computed by the batch."""
    totals = lengths + before
    offsets = _starts(totals)
    numbers = np.arange(offsets[-1]) - np.repeat(offsets[:-1], totals)  # from 0 in each sequence
    kept = len(prefix.ids) if prefix.layers else 0
    own = numbers + np.repeat(kept + _starts(lengths)[:-1] - before, totals)
    return Keys(
        prefix=prefix,
        before=of_groups,
        rows=_to(np.where(numbers < np.repeat(before, totals), numbers, own), device),
        offsets=_to(offsets.astype(np.int32), device),
        max_length=int(totals.max()),
    )


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])


def _runs(lengths: NDArray[np.int64], before: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    """(start, count, length, before) of each run of sequences that are alike in both."""
    runs, start = [], 0
    for (length, skipped), same in groupby(zip(lengths.tolist(), before.tolist(), strict=True)):
        count = len(list(same))
        runs.append((start, count, length, skipped))
        start += count * length
    return runs


def _to(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
