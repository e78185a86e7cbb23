"""Find tickets that report the same thing: pairs above a threshold.

    python examples/duplicates.py [localhost:50051] [0.7]

The right threshold depends on model and texts. The table shows what each one finds; take the one
whose mistakes cost you least.
"""

from __future__ import annotations

import sys

import numpy as np
from corpus import load_tickets

from qwire import Client


def main(target: str | None = None, threshold: str = "0.7") -> None:
    """Every pair above the threshold, and how the pairs would change with another one."""
    tickets = load_tickets()
    with Client(target) as client:
        # Both sides are the same kind of text, so both are documents: no query prompt.
        vectors = client.embed_documents([ticket.text for ticket in tickets])
    rows, columns = np.triu_indices(len(tickets), k=1)  # each pair once
    scores = (vectors @ vectors.T)[rows, columns]
    groups = [ticket.same for ticket in tickets]
    pairs = zip(rows, columns, strict=True)
    labels = np.array([groups[i] is not None and groups[i] == groups[j] for i, j in pairs])

    for pair in np.argsort(-scores)[: (scores >= float(threshold)).sum()]:
        mark = " " if labels[pair] else "x"
        print(f"{scores[pair]:.4f} {mark} {tickets[rows[pair]].text}")
        print(f"         {tickets[columns[pair]].text}")
    print(f"\nthreshold   found of {labels.sum()}   wrong")
    for each in sorted({0.5, 0.6, 0.7, 0.8, 0.9, float(threshold)}):
        above = scores >= each
        print(f"{each:9.2f}{(above & labels).sum():13}{(above & ~labels).sum():8}")


if __name__ == "__main__":
    main(*sys.argv[1:])
