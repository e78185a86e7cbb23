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


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of n sequences with T tokens in all.

    Attributes:
        ids: (1, T) int64.
        positions: (1, T) int64, from 0 in each sequence.
        offsets: (n + 1,) int32, where each sequence begins; the last is T.
        max_length: of the longest sequence.
        groups: (start, count, length) of each run of equally long sequences.
        order: (n,) int64; the packed sequence i is number order[i] of the batch.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    offsets: torch.Tensor
    max_length: int
    groups: list[tuple[int, int, int]]
    order: NDArray[np.int64]


def pack(token_ids: Sequence[NDArray[np.int32]], device: torch.device) -> Packed:
    """Pack sequences, none of them empty, onto `device`."""
    lengths = np.array([len(ids) for ids in token_ids], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([token_ids[i] for i in order]).astype(np.int64)
    positions = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    return Packed(
        ids=_to(ids[None], device),
        positions=_to(positions[None], device),
        offsets=_to(offsets.astype(np.int32), device),
        max_length=int(lengths[-1]),
        groups=_groups(lengths.tolist()),
        order=order,
    )


def _groups(lengths: list[int]) -> list[tuple[int, int, int]]:
    groups, start = [], 0
    for length, same in groupby(lengths):
        count = len(list(same))
        groups.append((start, count, length))
        start += count * length
    return groups


def _to(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type == "cuda":  # pinned memory lets the copy overlap
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
