"""Names the vectors: two servers with one fingerprint give vectors that may share an index.

Reads files only; knows nothing about torch. How a fingerprint is spelled is `qwire.fingerprint`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from qwire.fingerprint import FORMAT, Fingerprint
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qwire_server.checkpoint.layout import Layout

# Files that transformers reads besides the weights. The files of sentence-transformers count by
# their meaning instead: pooling, prompts and the token limit are parts of their own.
_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    "added_tokens.json",
)
_SHORT = 16  # hex digits, 64 bits: enough to tell models apart, short enough to store with a row
_SHORTER = 8  # of prompts, which few change


def content_revision(folder: Path, weights: Mapping[str, str], *, lower_case: bool) -> str:
    """Digest of the files that decide the vectors.

    Args:
        folder: folder of the model.
        weights: sha256 of each weight file by its name.
        lower_case: whether texts are lower-cased before they are tokenised.

    Raises:
        ModelError: a file cannot be read.
    """
    files = {name: _sha256(folder / name) for name in _FILES if (folder / name).exists()}
    return _digest({"files": files, "weights": dict(weights), "lower_case": lower_case}, _SHORT)


def fingerprint(content: str, layout: Layout, *, dtype: str, max_tokens: int) -> str:
    """Everything that changes vectors.

    The model's name is left out: the same weights under another name give the same vectors.
    """
    prompts = _digest(layout.prompts.parts(), _SHORTER)
    return str(Fingerprint(FORMAT, content, dtype, layout.pooling, str(max_tokens), prompts))


def rank_fingerprint(content: str, *, dtype: str, max_tokens: int, instruction: str) -> str:
    """Everything that changes a reranker's scores."""
    prompts = _digest({"rerank_instruction": instruction}, _SHORTER)
    return str(Fingerprint(FORMAT, content, dtype, "score", str(max_tokens), prompts))


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _digest(content: dict[str, Any], digits: int) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
