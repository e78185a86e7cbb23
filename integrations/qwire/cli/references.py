"""Scores that a model is known to give, to be compared with what a server gives.

The texts are the example of the Qwen3-Embedding model cards: rows are queries, columns documents,
values cosines. Queries carry the model's own prompt, documents its own (for these models: none).
"""

from __future__ import annotations

from dataclasses import dataclass

QUERIES = ["What is the capital of China?", "Explain gravity"]
DOCUMENTS = [
    "The capital of China is Beijing.",
    (
        "Gravity is a force that attracts two bodies towards each other. It gives weight to "
        "physical objects and is responsible for the movement of planets around the sun."
    ),
]

# Two correct servers may be this far apart: bfloat16 keeps 8 bits of a number, and each kernel
# rounds in an order of its own. The card of the 0.6B has scores of transformers and of vLLM, which
# differ by 0.0025; this is twice that. The sizes of Qwen3 differ by 0.05 and more; the demo model
# is off by 0.001 in bfloat16, by 0.09 with last-token pooling, by 0.55 with cls.
TOLERANCE = 0.005


@dataclass(frozen=True)
class Reference:
    """Known scores of a model.

    Attributes:
        dimensions: of its vectors.
        scores: of `QUERIES` (rows) with `DOCUMENTS`.
        source: who says so.
    """

    dimensions: int
    scores: list[list[float]]
    source: str


REFERENCES = {
    "Qwen3-Embedding-0.6B": Reference(
        1024,
        [[0.7645568251609802, 0.14142508804798126], [0.13549736142158508, 0.5999549627304077]],
        "the model card, transformers",
    ),
    "Qwen3-Embedding-4B": Reference(
        2560, [[0.7534, 0.1147], [0.0320, 0.6258]], "the model card, four digits"
    ),
    "Qwen3-Embedding-8B": Reference(
        4096, [[0.7493, 0.0751], [0.0880, 0.6318]], "the model card, four digits"
    ),
    # Its card has no such scores. Made with SentenceTransformer(folder, device="cpu") in float32,
    # `encode(..., normalize_embeddings=True)`, the product in float64; a test makes them anew.
    "all-MiniLM-L6-v2": Reference(
        384,
        [[0.865495, 0.057818], [0.077337, 0.733196]],
        "sentence-transformers 6.2.0, float32, by the authors of qwire",
    ),
}


def reference_name(model: str) -> str | None:
    """The reference of a model that a server names so: a hub id, or a folder's last part."""
    own = model.rstrip("/").rpartition("/")[2].lower()
    return next((name for name in REFERENCES if name.lower() == own), None)
