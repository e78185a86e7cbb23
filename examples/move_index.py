"""Move an index to a new model by its fingerprint, with no question answered from mixed vectors.

    python examples/move_index.py localhost:50051       # makes articles.npz
    python examples/move_index.py localhost:50051       # finds it
    python examples/move_index.py localhost:50052       # another model: refused, then moved

The fingerprint changes whenever the vectors may. Sent as `expected_fingerprint` it makes another
server refuse, instead of answering with vectors that fit the index by length alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from corpus import load_articles

from qwire import Client, FingerprintMismatchError

QUESTION = "I forgot my password and nothing turned up in my inbox"


@dataclass(frozen=True)
class Index:
    """Ids and vectors, and the fingerprint of the model that made them."""

    ids: np.ndarray
    vectors: np.ndarray
    fingerprint: str


def main(target: str | None = None, path: str = "articles.npz") -> None:
    """Ask the index; if its model is gone, make the index again, put it in place, ask once more."""
    file = Path(path)
    with Client(target) as client:
        if not file.exists():
            save(build(client), file)
            print(f"{path}: made")
        try:
            answer(client, load(file))
        except FingerprintMismatchError as error:
            print(f"refused: {error}")
            save(build(client), file)
            print(f"{path}: made again")
            answer(client, load(file))


def answer(client: Client, index: Index) -> None:
    """Ask with the fingerprint of the index.

    Raises:
        FingerprintMismatchError: another model is served by now.
    """
    question = client.embed_query(QUESTION, expected_fingerprint=index.fingerprint)
    scores = index.vectors @ question
    best = scores.argmax()
    print(f"fingerprint {index.fingerprint}: {scores[best]:.4f} {index.ids[best]}")


def build(client: Client) -> Index:
    """Embed all again. A stream, because a real index is long; it outlives a restart, too."""
    fingerprint = client.describe(refresh=True).fingerprint
    pairs = ((article.id, article.passage) for article in load_articles("en"))
    items = list(client.embed_stream(pairs, expected_fingerprint=fingerprint))
    for item in items:
        if item.error is not None:
            raise item.error
    ids = np.array([item.id for item in items])
    return Index(ids, np.stack([item.embedding for item in items]), fingerprint)


def save(index: Index, file: Path) -> None:
    """Write beside, then rename: the old index answers until the new one is whole."""
    beside = file.with_suffix(".new.npz")
    np.savez(beside, ids=index.ids, vectors=index.vectors, fingerprint=index.fingerprint)
    beside.replace(file)


def load(file: Path) -> Index:
    """The index as it was saved."""
    with np.load(file) as stored:
        return Index(stored["ids"], stored["vectors"], str(stored["fingerprint"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
