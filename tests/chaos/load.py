"""One process of clients: `python -m chaos.load TARGET NUMBER KIND`, until its input ends.

KIND is sync or async. Callers ask for a few texts at a time, streams for many; each text is asked
for once only, so that another's vector is never right. Prints what was seen as a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading

import qwire
from chaos.tally import StreamTally, Tally
from qwire.stream import Flow

CALLERS = 4
TEXTS_PER_CALL = 7
TEXTS_PER_STREAM = 1500
# An impatient client: 30 s for a connection that is silent are a long time in a run of a minute.
Flow.__init__.__kwdefaults__["silence_seconds"] = 3.0
TIMEOUT = 20.0


class Load:
    """What all callers of this process share."""

    def __init__(self, number: int) -> None:
        self.over = threading.Event()
        self.tally = Tally()
        self._number = number
        self._next = itertools.count()

    def texts(self, count: int) -> list[str]:
        """Texts that nobody else asks for."""
        return [f"{self._number}/{next(self._next)}" for _ in range(count)]

    def wait_for_the_end(self) -> None:
        """Return when the parent closes this process's input."""
        sys.stdin.read()
        self.over.set()

    def call(self, client: qwire.Client) -> None:
        while not self.over.is_set():
            texts = self.texts(TEXTS_PER_CALL)
            self.asked(texts)
            try:
                self.tally.answered(texts, client.embed(texts).vectors)
            except qwire.QwireError as error:
                self.tally.failed(error, len(texts))

    def stream(self, client: qwire.Client) -> None:
        while not self.over.is_set():
            texts = self.texts(TEXTS_PER_STREAM)
            seen, error = StreamTally(self.tally, texts), None
            try:
                for item in client.embed_stream(texts, chunk_size=16, window=256):
                    seen.take(item.id, item.embedding, item.error)
            except qwire.QwireError as raised:
                error = raised
            seen.end(error)

    async def call_async(self, client: qwire.AsyncClient) -> None:
        while not self.over.is_set():
            texts = self.texts(TEXTS_PER_CALL)
            self.asked(texts)
            try:
                self.tally.answered(texts, (await client.embed(texts)).vectors)
            except qwire.QwireError as error:
                self.tally.failed(error, len(texts))

    async def stream_async(self, client: qwire.AsyncClient) -> None:
        while not self.over.is_set():
            texts = self.texts(TEXTS_PER_STREAM)
            seen, error = StreamTally(self.tally, texts), None
            try:
                async for item in client.embed_stream(texts, chunk_size=16, window=256):
                    seen.take(item.id, item.embedding, item.error)
            except qwire.QwireError as raised:
                error = raised
            seen.end(error)

    def asked(self, texts: list[str]) -> None:
        self.tally.calls += 1
        self.tally.asked += len(texts)


def run_sync(load: Load, target: str) -> None:
    """Threads that share a client."""
    with qwire.Client(target, timeout=TIMEOUT) as client:
        work = [*[load.call] * CALLERS, load.stream]
        threads = [threading.Thread(target=each, args=(client,)) for each in work]
        for thread in threads:
            thread.start()
        load.wait_for_the_end()
        for thread in threads:
            thread.join()


async def run_async(load: Load, target: str) -> None:
    """Tasks that share a client."""
    async with qwire.AsyncClient(target, timeout=TIMEOUT) as client:
        await asyncio.gather(
            asyncio.to_thread(load.wait_for_the_end),
            *(load.call_async(client) for _ in range(CALLERS)),
            load.stream_async(client),
        )


def main() -> None:
    target, number, kind = sys.argv[1:]
    load = Load(int(number))
    if kind == "sync":
        run_sync(load, target)
    else:
        asyncio.run(run_async(load, target))
    sys.stdout.write(load.tally.as_json() + "\n")


if __name__ == "__main__":
    main()
