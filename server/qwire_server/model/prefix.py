"""What texts of a batch begin with: its keys and values are computed once, and kept on the device.

Under causal attention they depend on those tokens alone. Knows token ids, and nothing of prompts:
that texts begin alike is a hint of whoever made them, and holds only where the ids say so.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

KeysValues: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Of one layer; each (tokens, kv_heads, head_dim)."""

_LEAST_TOKENS = 4  # fewer are not worth copies of all keys in each layer
_MOST_SEEN = 4096  # one number each


@dataclass(slots=True, eq=False)
class Prefix:
    """What some texts of one batch begin with.

    Attributes:
        ids: (P,) int32.
        users: numbers of those texts; each has tokens of its own after these.
        layers: keys and values in each layer; None: the batch computes them, before all else.
        keeps: whether `computed` is to be filled by the batch.
        computed: what will be `layers` for later batches.
    """

    ids: NDArray[np.int32]
    users: list[int]
    layers: list[KeysValues] | None
    keeps: bool
    computed: list[KeysValues] = field(default_factory=list)

    def saved(self, texts: int) -> list[int]:
        """Tokens of each text that are not computed; the first user pays for all, if anybody."""
        saved = [0] * texts
        for user in self.users if self.layers else self.users[1:]:
            saved[user] = len(self.ids)
        return saved

    def arrange(
        self, layer: int, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor
    ) -> KeysValues:
        """Keys and values as attention takes them: the prefix before what is each user's own.

        Args:
            layer: its number; layers come in their order.
            key: of the batch, (T, kv_heads, head_dim).
            value: like `key`.
            rows: see `Keys.rows`.
        """
        if self.layers:
            before = self.layers[layer]
            key, value = torch.cat([before[0], key]), torch.cat([before[1], value])
        elif self.keeps:
            own = slice(len(self.ids))
            self.computed.append((key[own].clone(), value[own].clone()))
        return key.index_select(0, rows), value.index_select(0, rows)


class Prefixes:
    """Chooses the prefix of each batch, and keeps those that come again. One thread's own.

    A prefix stays once it has come in two batches: many come in one batch only, and would push out
    those that every query has.

    Args:
        max_bytes: of all that is kept; what was used longest ago goes first.
        token_bytes: that one token takes, all layers together.
    """

    def __init__(self, max_bytes: int, token_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._token_bytes = token_bytes
        self._kept: OrderedDict[bytes, list[KeysValues]] = OrderedDict()  # by the ids' bytes
        self._seen: OrderedDict[int, None] = OrderedDict()  # by their hash

    def __repr__(self) -> str:
        return f"<Prefixes {len(self._kept)}, {self.size} of {self._max_bytes} bytes>"

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return sum(map(self._bytes, self._kept))

    def choose(self, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int]) -> Prefix | None:
        """The one that saves this batch most, if any is worth it.

        Args:
            token_ids: of each text of the batch.
            hints: how many leading tokens of each text others are likely to share; 0 for none.
        """
        users: dict[bytes, list[int]] = defaultdict(list)
        for number, hint in enumerate(hints):
            if _LEAST_TOKENS <= hint < len(token_ids[number]):
                users[token_ids[number][:hint].tobytes()].append(number)
        if not users:
            return None
        key = max(users, key=lambda k: len(k) * (len(users[k]) - (k not in self._kept)))
        layers = self._kept.get(key)
        if layers:
            self._kept.move_to_end(key)
        keeps = not layers and self._came_before(key) and self._bytes(key) <= self._max_bytes
        if not layers and not keeps and len(users[key]) == 1:
            return None
        return Prefix(np.frombuffer(key, np.int32), users[key], layers, keeps)

    def keep(self, prefix: Prefix) -> None:
        """Keep what a batch has computed, if it was to be kept."""
        if not prefix.computed:
            return
        key = prefix.ids.tobytes()
        while self._kept and self.size + self._bytes(key) > self._max_bytes:
            self._kept.popitem(last=False)
        self._kept[key] = prefix.computed

    def clear(self) -> None:
        """Give the memory back."""
        self._kept.clear()

    def _came_before(self, key: bytes) -> bool:
        """Whether this is not its first batch; remember it."""
        known = hash(key) in self._seen
        self._seen[hash(key)] = None
        self._seen.move_to_end(hash(key))
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return known

    def _bytes(self, key: bytes) -> int:
        return len(key) // np.dtype(np.int32).itemsize * self._token_bytes


def token_bytes(model: PreTrainedModel) -> int:
    """What the keys and values of one token take, all layers together."""
    shape = model.config
    values = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim
    return int(values) * model.dtype.itemsize
