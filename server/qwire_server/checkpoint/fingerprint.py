"""Names the vectors: two servers with one fingerprint give vectors that may share an index.

Reads files only; knows nothing about torch.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from qwire_server.checkpoint.layout import Layout

_SAMPLES = 64
_SAMPLE_BYTES = 16 * 1024  # 1 MiB of each weight file in all: a full hash of 15 GB takes minutes
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
_SHORT = 16  # hex digits, 64 bits: enough to tell models apart, short enough to store with a row


def content_revision(folder: Path) -> str:
    """Digest of what decides the vectors: config, tokenizer, and each weight file.

    Of a weight file, its name, size, safetensors header and evenly spaced samples.

    Raises:
        ModelError: there is no safetensors file.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        digest.update((folder / name).read_bytes())
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder} has no *.safetensors file; other weight formats are not loaded")
    for path in weights:
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        _sample(path, digest)
    return digest.hexdigest()[:_SHORT]


def _sample(path: Path, digest: hashlib._Hash) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        digest.update(file.read(min(header_bytes, size, _MAX_HEADER_BYTES)))
        for i in range(_SAMPLES):
            file.seek(max(size - _SAMPLE_BYTES, 0) * i // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))


def fingerprint(content: str, layout: Layout, *, dtype: str, max_tokens: int) -> str:
    """Digest of everything that changes vectors, `content_revision` included; 16 hex digits.

    The model's name is left out: the same weights under another name give the same vectors.
    """
    facts: dict[str, str | int] = {
        "content": content,
        "dtype": dtype,
        "pooling": layout.pooling,
        "max_tokens": max_tokens,
        **layout.prompts.parts(),
    }
    return _digest(facts)


def rank_fingerprint(content: str, *, dtype: str, max_tokens: int, instruction: str) -> str:
    """Digest of everything that changes a reranker's scores; 16 hex digits."""
    return _digest(
        {
            "content": content,
            "dtype": dtype,
            "max_tokens": max_tokens,
            "rerank_instruction": instruction,
        }
    )


def _digest(facts: dict[str, str | int]) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_SHORT]
