"""The `openai` package, unchanged, against the HTTP port of the same server.

    python examples/openai_sdk.py [http://localhost:8000/v1]

For tools that speak OpenAI's interface and nothing else. A server that has keys wants one, here
from QWIRE_API_KEY; to others any will do. Questions need the model's query prompt: `input_type` in
the body says so, or `:query` behind the model's name.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from corpus import load_articles
from openai import OpenAI

QUESTION = "I forgot my password and nothing turned up in my inbox"


def main(base_url: str = "http://localhost:8000/v1") -> None:
    """Index the articles, ask in both ways."""
    articles = load_articles("en")
    api_key = os.environ.get("QWIRE_API_KEY") or "EMPTY"
    with OpenAI(base_url=base_url, api_key=api_key) as client:
        model = client.models.list().data[0].id
        reply = client.embeddings.create(model=model, input=[each.passage for each in articles])
        documents = np.array([each.embedding for each in reply.data])
        print(f"{model}: {documents.shape}, {reply.usage.prompt_tokens} tokens")

        by_body = client.embeddings.create(
            model=model, input=QUESTION, extra_body={"input_type": "query"}
        )
        by_name = client.embeddings.create(model=f"{model}:query", input=QUESTION)
    scores = documents @ np.array(by_body.data[0].embedding)
    print(f"{scores.max():.4f}  {articles[scores.argmax()].title}")
    same = np.allclose(by_body.data[0].embedding, by_name.data[0].embedding, atol=1e-2)
    print(f"`input_type` and `:query` give the same vector: {same}")


if __name__ == "__main__":
    main(*sys.argv[1:])
