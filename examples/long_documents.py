"""Split long documents, and see what it is worth.

    python examples/long_documents.py [localhost:50051] [120]

A model cuts what is longer than it reads (the demo model 256 tokens, Qwen3 32768), and one vector
for many subjects is blurred long before that. Pieces of a few hundred tokens, cut between sentences
and overlapping by one, keep what is said; a document is as good as its best piece.
"""

from __future__ import annotations

import re
import sys

import numpy as np
from corpus import load_articles, load_questions

from qwire import Client

NUM_DOCUMENTS = 5


def main(target: str | None = None, most_tokens: str = "120") -> None:
    """Find the handbook that answers: by one vector for each, then by its pieces."""
    articles, questions = load_articles("en"), load_questions("en")
    handbooks = [articles[i::NUM_DOCUMENTS] for i in range(NUM_DOCUMENTS)]
    texts = ["\n".join(article.passage for article in book) for book in handbooks]
    home = {article.id: number for number, book in enumerate(handbooks) for article in book}
    right = np.array([home[asked.answers[0]] for asked in questions])

    with Client(target) as client:
        asked = client.embed([each.question for each in questions], input_type="query").vectors
        whole = client.embed(texts)
        length = whole.tokens + whole.truncated
        print(f"{len(texts)} documents of {length.min()} to {length.max()} tokens; ", end="")
        print(f"{whole.truncated.sum() / length.sum():.0%} of all cut off")
        found = (asked @ whole.vectors.T).argmax(axis=1)
        print(f"one vector a document:  {(found == right).sum():2} of {len(right)} questions")

        pieces = [split(client, text, int(most_tokens)) for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(each) for each in pieces])
        split_up = client.embed([piece for each in pieces for piece in each])
        found = owner[(asked @ split_up.vectors.T).argmax(axis=1)]
        print(f"one vector a piece:     {(found == right).sum():2} of {len(right)} questions")
        print(f"{len(owner)} pieces of at most {split_up.tokens.max()} tokens; ", end="")
        print(f"{split_up.truncated.sum()} tokens cut off")


def split(client: Client, text: str, most_tokens: int) -> list[str]:
    """Pieces of whole sentences, each beginning with the last sentence of the one before.

    The server counts, with the model's own tokeniser and the tokens it adds to each text; so a sum
    of sentences is a little more than their piece. A longer sentence is a piece by itself.
    """
    sentences = re.split(r"(?<=[.!?])\s+|\n+", text)
    counts = client.count_tokens(sentences).tokens
    pieces, start, total = [], 0, 0
    for i, count in enumerate(counts):
        if i > start and total + count > most_tokens:
            pieces.append(" ".join(sentences[start:i]))
            overlap = counts[i - 1] + count <= most_tokens and i - 1 > start
            start = i - 1 if overlap else i
            total = counts[start:i].sum()
        total += count
    return [*pieces, " ".join(sentences[start:])]


if __name__ == "__main__":
    main(*sys.argv[1:])
