"""The model as transformers runs it, one text at a time: what packed forwards are checked by.

Nothing of ours is in it but the head, which sees one text only.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwire_server.model import attention
from qwire_server.model.device import mapped_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head


def unpacked_rows(
    model: PreTrainedModel, head: Head, token_ids: Sequence[NDArray[np.int32]]
) -> NDArray[np.float32]:
    """Rows of some texts, (texts, row dim) float32, not normalised, in the model's own dtype."""
    with torch.inference_mode(), mapped_errors(model.device), _transformers_attention(model):
        rows = [_row(model, head, ids) for ids in token_ids]
        return np.asarray(torch.cat(rows).float().cpu().numpy(), np.float32)


def _row(model: PreTrainedModel, head: Head, ids: NDArray[np.int32]) -> torch.Tensor:
    tokens = torch.from_numpy(ids.astype(np.int64)).to(model.device)[None]
    offsets = torch.tensor([0, len(ids)], dtype=torch.int32, device=model.device)
    output = model(
        input_ids=tokens,
        position_ids=torch.arange(len(ids), device=model.device)[None],
        use_cache=False,
        offsets=offsets,  # what a hook of the model may ask of any forward
    )
    return head(output.last_hidden_state[0], offsets)


@contextmanager
def _transformers_attention(model: PreTrainedModel) -> Iterator[None]:
    """Put transformers' own attention in the place of ours for a while."""
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(attention.NAME)
