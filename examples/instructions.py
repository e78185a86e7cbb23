"""One text, three instructions: what is technical in it, what its user needs, what is legal risk.

    python examples/instructions.py [localhost:50051]

Qwen3 puts the task before a query, in English whatever its language, and the same text finds other
documents. Documents carry no instruction: one index serves all three. The demo model takes none,
and finds one list.
"""

from __future__ import annotations

import sys
import textwrap
from itertools import combinations

from corpus import load_articles

from qwire import Client

TEXT = (
    "Since yesterday's failed renewal our workspace is locked, the export job died with exit code "
    "137, and our client threatens to end the contract because we missed the delivery date."
)
INSTRUCTIONS: dict[str, str | None] = {
    "technical": "Given an incident report, retrieve engineering articles on its cause",
    "user need": "Given a customer's message, retrieve help articles that say what to do next",
    "legal risk": "Given an event, retrieve contract clauses and duties that it touches",
}


def main(target: str | None = None) -> None:
    """The three best articles by each instruction, and how far apart the three queries are."""
    articles = load_articles("en")
    with Client(target) as client:
        served = client.describe()
        if not served.prompts.template:
            print(f"{served.model} takes no instructions, so there is one list. With Qwen3 there")
            print("are three:  qwire serve --model Qwen/Qwen3-Embedding-0.6B\n")
        tasks = INSTRUCTIONS if served.prompts.template else {"one list": None}
        documents = client.embed_documents([article.passage for article in articles])
        queries = {name: client.embed_query(TEXT, instruction=tasks[name]) for name in tasks}

    print(textwrap.fill(TEXT, 100))
    for name, query in queries.items():
        print(f"\n{name}: {tasks[name] or 'no instruction'}")
        scores = documents @ query
        for i in scores.argsort()[::-1][:3]:
            print(f"  {scores[i]:.4f} {articles[i].title}")
    for one, other in combinations(queries, 2):
        print(f"\ncosine of {one} and {other}: {queries[one] @ queries[other]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
