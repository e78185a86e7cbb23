"""Embed a lot with asyncio, and answer questions meanwhile.

    python examples/bulk_async.py [localhost:50051] [400]

The stream reads its input as answers come, so memory stays flat; it waits for a server that
restarts. Single questions overtake it in the server's queue: nobody waits for a batch job.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING

from corpus import load_articles, load_questions

from qwire import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Iterator

NUM_QUESTIONS = 5


async def main(target: str | None = None, num_texts: str = "400") -> None:
    """A bulk job and a few questions, at once."""
    async with AsyncClient(target) as client:
        bulk = asyncio.create_task(embed_all(client, int(num_texts)))
        for asked in load_questions("en")[:NUM_QUESTIONS]:
            start = time.perf_counter()
            await client.embed_query(asked.question)
            state = "bulk is done" if bulk.done() else "bulk is running"
            print(f"{(time.perf_counter() - start) * 1000:6.0f} ms, {state}: {asked.question}")
        print(await bulk)


async def embed_all(client: AsyncClient, num_texts: int) -> str:
    """Embed them; what came of it."""
    num_tokens, failed = 0, []
    start = time.perf_counter()
    async for item in client.embed_stream(texts(num_texts), truncate="none"):
        if item.error is None:
            num_tokens += item.tokens  # and item.embedding goes into a store, under item.id
        else:
            failed.append(f"{item.id}: {item.error}")  # the stream goes on
    rate = num_texts / (time.perf_counter() - start)
    done = (
        f"{num_texts - len(failed)} of {num_texts} texts, {num_tokens} tokens, {rate:.0f} texts/s"
    )
    return "\n".join([done, *(f"  failed: {each}" for each in failed)])


def texts(num_texts: int) -> Iterator[tuple[str, str]]:
    """An id and a text at a time, as a file or a database yields them; one is far too long."""
    articles = cycle(load_articles("en"))
    for number, article in enumerate(islice(articles, num_texts)):
        yield f"row-{number}", article.passage * (400 if number == 7 else 1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
