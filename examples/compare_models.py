"""Two models, or more, on one set of questions: each behind a server of its own.

    qwire serve --model demo --grpc-port 50051 --http-port off
    qwire serve --model Qwen/Qwen3-Embedding-0.6B --grpc-port 50052 --http-port off
    python examples/compare_models.py localhost:50051 localhost:50052

With one server there is one row. All 66 questions are asked, in English, in Chinese and across.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from corpus import load_articles, load_questions
from scores import Quality, best_first, measure

from qwire import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corpus import Question


def main(*targets: str) -> None:
    """A row for each server, and how many questions only one of the first two gets right."""
    print(f"{'':36}{'dim':>5}{'Top-1':>8}{'Top-3':>8}{'MRR':>7}{'texts/s':>9}")
    right = [judge(target) for target in targets or [None]]
    if len(right) < 2:
        print("One server, one row: name a second one to compare.")
        return
    one, other = right[:2]
    print(f"right in both {len(one & other)}, only in the first {len(one - other)}, ", end="")
    print(f"only in the second {len(other - one)}")


def judge(target: str | None) -> set[str]:
    """Print one server's row; the ids of the questions whose answer it puts first."""
    articles, questions = load_articles(), load_questions()
    with Client(target) as client:
        client.embed_query("warm up")
        start = time.perf_counter()
        documents = client.embed([article.passage for article in articles])
        rate = len(articles) / (time.perf_counter() - start)
        asked = client.embed([each.question for each in questions], input_type="query")
    names = [article.id for article in articles]
    rankings = [best_first(names, row) for row in asked.vectors @ documents.vectors.T]
    row(documents.model, documents.dim, measure(rankings, labels(questions)), rate)
    return {
        each.id
        for each, ranking in zip(questions, rankings, strict=True)
        if next(iter(ranking)) in each.answers
    }


def labels(questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """The right answers."""
    return [each.answers for each in questions]


def row(model: str, dim: int, quality: Quality, rate: float) -> None:
    """One line of the table."""
    name = model.rstrip("/").rpartition("/")[2]
    print(f"{name:36}{dim:5}{quality.top1:8.1%}{quality.top3:8.1%}{quality.mrr:7.3f}{rate:9.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
