"""FAQ retrieval, judged: how often the right article comes first, or among three.

python examples/faq.py [localhost:50051]

With `qwire serve --reranker ...` the second stage is judged too.
"""

from __future__ import annotations

import sys

from corpus import load_articles, load_questions
from scores import Ranking, best_first, measure

from qwire import Client

CANDIDATES = 10  # what the first stage hands to the second


def main(target: str | None = None) -> None:
    """Ask labelled questions that are worded unlike their answers."""
    articles, questions = load_articles("en"), load_questions("en")
    passages = {article.id: article.passage for article in articles}
    with Client(target) as client:
        documents = client.embed_documents(list(passages.values()))
        asked = client.embed([each.question for each in questions], input_type="query")
        first = [best_first(list(passages), row) for row in asked.vectors @ documents.T]
        stages = {"embeddings": first}
        if client.describe().reranker:
            stages["then reranker"] = [
                rerank(client, each.question, ranking, passages)
                for each, ranking in zip(questions, first, strict=True)
            ]
    print(f"{len(questions)} questions, {len(articles)} articles   Top-1   Top-3     MRR")
    for name, rankings in stages.items():
        quality = measure(rankings, [each.answers for each in questions])
        print(f"{name:28} {quality.top1:8.1%}{quality.top3:8.1%}{quality.mrr:8.3f}")
    for each, ranking in zip(questions, rankings, strict=True):
        best = next(iter(ranking))
        if best not in each.answers:
            print(f"  missed: {each.question}\n          {best}, not {each.answers[0]}")


def rerank(client: Client, question: str, first: Ranking, passages: dict[str, str]) -> Ranking:
    """The first stage's best in the reranker's order, and behind them the rest as it was."""
    names = list(first)[:CANDIDATES]
    ranked = client.rerank(question, [passages[name] for name in names])
    return {names[result.index]: result.score for result in ranked} | {
        name: score - 2 for name, score in list(first.items())[CANDIDATES:]
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
