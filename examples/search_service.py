"""A FAISS index behind a small search service: one file on disk, one route.

    python examples/search_service.py localhost:50051 faiss-articles 8080    # the defaults
    curl "localhost:8080/search?q=My+refund+is+late&k=3"

The file is named after the model's fingerprint: vectors of two models never meet in one index.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import uvicorn
from corpus import load_articles
from fastapi import FastAPI

from qwire import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ARTICLES = load_articles("en")


def main(target: str | None = None, folder: str = "faiss-articles", port: str = "8080") -> None:
    """Serve until Ctrl-C."""
    uvicorn.run(build_app(target, Path(folder)), port=int(port))


def build_app(target: str | None, folder: Path) -> FastAPI:
    """The service; its index is loaded, or made, before it takes a request."""
    index, fingerprint = open_index(target, folder)
    client = AsyncClient(target)

    @asynccontextmanager
    async def close_at_the_end(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.close()

    app = FastAPI(title="Article search", lifespan=close_at_the_end)

    @app.get("/search")
    async def search(q: str, k: int = 3) -> list[dict[str, str | float]]:
        """The `k` articles that answer `q` best."""
        question = await client.embed_query(q, expected_fingerprint=fingerprint)
        scores, places = index.search(question[None], min(k, len(ARTICLES)))
        return [
            {"score": round(float(score), 4), "id": ARTICLES[i].id, "title": ARTICLES[i].title}
            for score, i in zip(scores[0], places[0], strict=True)
        ]

    return app


def open_index(target: str | None, folder: Path) -> tuple[faiss.Index, str]:
    """The index of the model that is served, and the fingerprint of its vectors."""
    with Client(target) as client:
        served = client.describe()
        path = folder / f"{served.fingerprint}.faiss"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            vectors = client.embed_documents(
                [article.passage for article in ARTICLES], expected_fingerprint=served.fingerprint
            )
            index = faiss.IndexFlatIP(vectors.shape[1])  # unit length, so cosine
            index.add(vectors)
            faiss.write_index(index, str(path))
    return faiss.read_index(str(path)), served.fingerprint


if __name__ == "__main__":
    main(*sys.argv[1:])
