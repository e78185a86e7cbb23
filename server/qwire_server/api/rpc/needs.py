"""What each gRPC method needs of a key. One that is not named here needs any key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.security.scopes import ANY, EMBED, OPEN, RERANK, TEXTS

if TYPE_CHECKING:
    from qwire_server.security.scopes import Need

_SERVICES: dict[str, dict[str, Need]] = {
    "qwire.v1.Embedding": {
        "Describe": ANY,
        "Embed": EMBED,
        "EmbedStream": EMBED,
        "CountTokens": EMBED,
        "Stats": ANY,
    },
    "qwire.v1.Reranking": {"Rerank": RERANK, "RerankStream": RERANK},
    "tei.v1.Info": {"Info": ANY},
    "tei.v1.Embed": {
        "Embed": EMBED,
        "EmbedStream": EMBED,
        "EmbedSparse": EMBED,
        "EmbedSparseStream": EMBED,
        "EmbedAll": EMBED,
        "EmbedAllStream": EMBED,
    },
    "tei.v1.Predict": {
        "Predict": RERANK,
        "PredictPair": RERANK,
        "PredictStream": RERANK,
        "PredictPairStream": RERANK,
    },
    "tei.v1.Rerank": {"Rerank": RERANK, "RerankStream": RERANK},
    "tei.v1.Tokenize": {
        "Tokenize": TEXTS,
        "TokenizeStream": TEXTS,
        "Decode": TEXTS,
        "DecodeStream": TEXTS,
    },
    # Load balancers and supervisors have no key.
    "grpc.health.v1.Health": {"Check": OPEN, "List": OPEN, "Watch": OPEN},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": ANY},
}
_OTHER = "other"  # what a client made up is no word of our records


def _label(service: str, method: str) -> str:
    return f"tei.{method}" if service.startswith("tei.") else method


LABELS = {
    f"/{service}/{method}": _label(service, method)
    for service, methods in _SERVICES.items()
    for method in methods
}
"""What records call each path."""
_NEEDS = {
    _label(service, method): need
    for service, methods in _SERVICES.items()
    for method, need in methods.items()
}


def label_of(path: str) -> str:
    """What records call a method."""
    return LABELS.get(path, _OTHER)


def need_of(label: str) -> Need:
    """What a method needs, by what records call it."""
    return _NEEDS.get(label, ANY)
