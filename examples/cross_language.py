"""Ask in one language, find the answer in another: English and Chinese, no translation.

    python examples/cross_language.py [localhost:50051]

The demo model reads English only, which shows: Chinese characters are unknown tokens to it. Qwen3
reads more than a hundred languages: `qwire serve --model Qwen/Qwen3-Embedding-0.6B`. The
instruction stays in English whatever the language of the texts.
"""

from __future__ import annotations

import sys

from corpus import load_articles, load_questions

from qwire import Client


def main(target: str | None = None) -> None:
    """Rank the whole corpus, both languages in one index, for questions whose answer is abroad."""
    articles = load_articles()
    lang = {article.id: article.lang for article in articles}
    asked = [each for each in load_questions() if lang[each.answers[0]] != each.lang]
    with Client(target) as client:
        languages = client.describe().languages
        documents = client.embed([article.passage for article in articles])
        queries = client.embed([each.question for each in asked], input_type="query")

    if languages == ("en",):
        unknown = documents.unknown.sum() / documents.tokens.sum()
        print(f"{documents.model} reads English only: {unknown:.0%} of the tokens are unknown to")
        print("it, and what it finds here is luck. Qwen3 reads both languages.\n")
    num_first = 0
    for each, scores in zip(asked, queries.vectors @ documents.vectors.T, strict=True):
        order = [articles[i] for i in scores.argsort()[::-1]]
        place = 1 + next(i for i, article in enumerate(order) if article.id in each.answers)
        num_first += place == 1
        print(f"{each.lang} asks  {each.question}")
        print(f"   {order[0].lang} first {order[0].title}; the answer is at {place}")
    print(f"\nanswer first: {num_first} of {len(asked)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
