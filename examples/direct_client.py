"""The client without a framework: embed, ask, stream.

python examples/direct_client.py [localhost:50051]
"""

from __future__ import annotations

import sys

from corpus import load_articles

from qwire import Client

QUESTION = "I forgot my password and nothing turned up in my inbox"


def main(target: str | None) -> None:
    """Find the best article, then embed the corpus again as a stream."""
    articles = load_articles()
    with Client(target) as client:  # None: QWIRE_TARGET, else localhost:50051
        documents = client.embed([article.passage for article in articles])
        print(f"{documents.model}: {documents.shape}, {documents.tokens.sum()} tokens")

        scores = documents.vectors @ client.embed_query(QUESTION)  # unit length, so cosine
        best = scores.argmax()
        print(f"{scores[best]:.4f}  {articles[best].title}")

        # Any iterable, of any length, in constant memory; pairs carry an id of yours.
        pairs = ((article.id, article.passage) for article in articles)
        for item in client.embed_stream(pairs):
            print(f"{item.tokens:4} tokens  {item.error or item.id}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
