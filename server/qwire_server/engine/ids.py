"""Token ids that a model must not see: on CUDA one of them would break the device for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwire_server.engine.work import Failure

if TYPE_CHECKING:
    from qwire_server.engine.work import TokenIds


def refused(token_ids: list[TokenIds], vocab_size: int) -> list[Failure]:
    """Texts that the model must not see. One look at all of them; they are hardly ever bad."""
    if all(map(len, token_ids)) and _valid(np.concatenate(token_ids), vocab_size):
        return []
    bad = (i for i, ids in enumerate(token_ids) if not len(ids) or not _valid(ids, vocab_size))
    return [_bad_id(i) for i in bad]


def _valid(ids: TokenIds, vocab_size: int) -> bool:
    return int(ids.min()) >= 0 and int(ids.max()) < vocab_size


def _bad_id(index: int) -> Failure:
    return Failure(index, "INTERNAL", "a token id lies outside the model's table: this is a bug")
