"""From hidden states to one vector a sequence. Pure tensor functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from qwire_server.checkpoint.layout import Pooling


def pool(hidden: torch.Tensor, offsets: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool packed hidden states.

    Args:
        hidden: (T, dim), any float dtype.
        offsets: (n + 1,) where each sequence begins.
        pooling: `last` token, `mean` of all tokens, or the first (`cls`).

    Returns:
        (n, dim) float32.
    """
    if pooling == "last":
        return hidden[offsets[1:].long() - 1].float()
    if pooling == "cls":
        return hidden[offsets[:-1].long()].float()
    lengths = offsets.diff()
    owner = torch.repeat_interleave(
        torch.arange(len(lengths), device=hidden.device), lengths.long(), output_size=len(hidden)
    )
    sums = torch.zeros(len(lengths), hidden.shape[1], dtype=torch.float32, device=hidden.device)
    sums.index_add_(0, owner, hidden.float())
    return sums / lengths[:, None]
