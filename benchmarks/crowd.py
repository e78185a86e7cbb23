"""Many clients at once, each with a single text: what a busy chat front does to a server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.sizes import CLIENTS
from qwire import Client


class Crowd:
    """Clients in threads of their own, each with one text in flight.

    They share a process, and gRPC lets them share a connection. Client code takes part of the time
    where the model takes little.

    Attributes:
        seconds: that each call took, in all rounds.
    """

    def __init__(self, target: str, count: int = CLIENTS) -> None:
        self.seconds: list[float] = []
        self._clients = [Client(target) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count)

    def embed(self, texts: list[str]) -> list[Any]:
        """Client number i takes the texts i, i + count, ..., one after the other."""
        count = len(self._clients)
        rows: list[Any] = [None] * len(texts)

        def work(number: int) -> None:
            for index in range(number, len(texts), count):
                began = time.perf_counter()
                rows[index] = self._clients[number].embed([texts[index]]).vectors[0]
                self.seconds.append(time.perf_counter() - began)

        list(self._threads.map(work, range(count)))
        return rows

    def close(self) -> None:
        """End the threads, close the channels."""
        self._threads.shutdown()
        for client in self._clients:
            client.close()
