"""What each HTTP route needs of a key, and in whose words it refuses. Others need any key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.api.http.errors import openai_shape, rerank_shape, tei_shape
from qwire_server.security.scopes import ANY, EMBED, METRICS, OPEN, RERANK, TEXTS

if TYPE_CHECKING:
    from qwire_server.api.http.errors import Shape
    from qwire_server.security.scopes import Need

NEEDS: dict[str, Need] = {
    "/": TEXTS,  # its body says which of the two
    "/embeddings": EMBED,
    "/v1/embeddings": EMBED,
    "/v1/embed": EMBED,
    "/v2/embed": EMBED,
    "/models": ANY,
    "/v1/models": ANY,
    "/v1/models/{name:path}": ANY,
    "/rerank": RERANK,
    "/v1/rerank": RERANK,
    "/v2/rerank": RERANK,
    "/embed": EMBED,
    "/info": ANY,
    # Supervisors have no key.
    "/health": OPEN,
    "/health/live": OPEN,
    "/health/ready": OPEN,
    "/metrics": METRICS,
    "/openapi.json": OPEN,
}
_SHAPES: dict[str, Shape] = {
    "/": tei_shape,
    "/v1/embed": rerank_shape,
    "/v2/embed": rerank_shape,
    "/rerank": rerank_shape,
    "/v1/rerank": rerank_shape,
    "/v2/rerank": rerank_shape,
    "/embed": tei_shape,
    "/info": tei_shape,
}
_MODEL = ("/v1/models/", "/models/")


def route_of(path: str) -> str:
    """The route of a path, in our own words: what a client made up is no word of records."""
    if path.startswith(_MODEL):
        return "/v1/models/{name:path}"
    return path if path in NEEDS else "other"


def shape_of(route: str) -> Shape:
    """How a route tells errors."""
    return _SHAPES.get(route, openai_shape)
