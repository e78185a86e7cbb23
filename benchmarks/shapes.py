"""The true shapes of Qwen3-Embedding, and the arithmetic that a forward of a text must do. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model's config.json says that matters for its speed and its size.

    Attributes:
        gated: the feed-forward part has three matrices, not two.
        causal: a token sees those before it, not all.
        positions: most tokens of a text.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    positions: int
    gated: bool = True
    causal: bool = True

    def flops(self, lengths: Iterable[int]) -> float:
        """Floating-point operations of one forward of texts of these lengths, in tokens.

        Products of matrices only: two operations for a weight and a token, and attention's two
        products, of which a causal model does half.
        """
        counted = list(lengths)
        projections = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        feed_forward = (3 if self.gated else 2) * self.hidden * self.intermediate
        per_token = 2 * self.layers * (projections + feed_forward)
        per_pair = 4 * self.layers * self.heads * self.head_dim / (2 if self.causal else 1)
        return per_token * sum(counted) + per_pair * sum(n * n for n in counted)


# By the config.json of each; the embedding table is as long as theirs.
QWEN3 = {
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151_669, 32_768),
    "4B": Shape(2560, 36, 32, 8, 128, 9728, 151_665, 40_960),
    "8B": Shape(4096, 36, 32, 8, 128, 12_288, 151_665, 40_960),
}


def read_shape(folder: Path) -> Shape:
    """The shape of a model that is served: of type qwen3 or bert."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    heads, is_qwen = config["num_attention_heads"], config["model_type"] == "qwen3"
    return Shape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_dim=config.get("head_dim", config["hidden_size"] // heads),
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        gated=is_qwen,
        causal=is_qwen,
    )
