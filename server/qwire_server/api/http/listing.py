"""What is served, as `/v1/models` tells it: OpenAI's fields, and what clients must know of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwire_server.api.gate import Gate
    from qwire_server.api.served import Served


def listed(gate: Gate, started: int) -> list[tuple[Served, dict[str, Any]]]:
    """Each model with its entry.

    Args:
        gate: to the models.
        started: when this server did, in seconds since 1970.

    Raises:
        Unavailable: loading, draining or failed.
    """
    embedder, reranker = gate.models()
    found: list[tuple[Served, dict[str, Any]]] = []
    if embedder:
        served = embedder.served
        own = {
            "task": "embed",
            "dimensions": served.native_dimensions,
            "min_dimensions": served.min_dimensions,
            "instructions": bool(served.prompts.template),
        }
        found.append((served, _entry(served, started) | own))
    if reranker:
        served = reranker.served
        own = {"task": "rerank", "instructions": bool(reranker.prompt.instruction)}
        found.append((served, _entry(served, started) | own))
    return found


def _entry(served: Served, started: int) -> dict[str, Any]:
    return {
        "id": served.model,
        "object": "model",
        "created": started,
        "owned_by": "qwire",
        "revision": served.revision,
        "fingerprint": served.fingerprint,
        "languages": served.languages,
        "max_tokens": served.max_tokens,
        "max_texts": served.limits.max_texts,
        "aliases": served.aliases,
        "device": served.device,
        "dtype": served.dtype,
    }
