"""Independent references: transformers one text at a time, and sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def transformers_last_token(
    folder: Path, texts: list[str], *, max_tokens: int, dimensions: int | None = None
) -> NDArray[np.float32]:
    """The model card's recipe, without padding: last token, cut, L2."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    rows = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            batch.pop("token_type_ids", None)
            last = model.eval()(**batch).last_hidden_state[0, -1, :dimensions]
            rows.append(torch.nn.functional.normalize(last, dim=0).numpy())
    return np.stack(rows)


def sentence_transformers(
    folder: Path, texts: list[str], *, prompt: str = "", dimensions: int | None = None
) -> NDArray[np.float32]:
    """What `SentenceTransformer.encode` gives on the CPU in fp32."""
    model = SentenceTransformer(str(folder), device="cpu", truncate_dim=dimensions)
    rows = model.encode(texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(rows, dtype=np.float32)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each pair of rows."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    return np.asarray((a64 * b64).sum(axis=1) / lengths)
