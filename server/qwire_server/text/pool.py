"""A few threads that tokenise in small slices, those of people before those of jobs.

Knows nothing about tokens: a slice is any function.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

SLICE_TEXTS = 64  # about 5 ms of work: how long a question may have to wait for a job's slice
SLICE_CHARS = 256 * 1024  # one text of that size takes 0.05 to 1 s


def slices(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Cut a list into runs of at most `SLICE_TEXTS` texts whose sizes sum up to at most `most`.

    A text that is larger by itself is a run of its own.
    """
    first, total = 0, 0
    for i, size in enumerate(sizes):
        if i > first and (i - first == SLICE_TEXTS or total + size > most):
            yield slice(first, i)
            first, total = i, 0
        total += size
    if first < len(sizes):
        yield slice(first, len(sizes))


@dataclass(order=True, slots=True)
class _Slice:
    priority: int
    number: int  # first come, first served within a priority
    run: Callable[[], None] | None = field(compare=False)


class Pool:
    """Runs functions in threads, the lowest priority number first."""

    def __init__(self, threads: int) -> None:
        self._waiting: queue.PriorityQueue[_Slice] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._work, name=f"qwire-tokenizer-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        return f"<Pool {len(self._threads)} threads, {self._waiting.qsize()} slices wait>"

    async def run(self, priority: int, function: Callable[..., T], *args: Any) -> T:
        """Run `function(*args)` in a thread; a caller that is cancelled first saves the work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = function(*args)
            except BaseException as error:  # noqa: BLE001  it belongs to the caller
                loop.call_soon_threadsafe(_settle, future, None, error)
            else:
                loop.call_soon_threadsafe(_settle, future, result, None)

        self._waiting.put(_Slice(priority, next(self._numbers), call))
        return await future

    @property
    def threads(self) -> int:
        """Threads that tokenise."""
        return len(self._threads)

    def close(self) -> None:
        """Finish what waits, end the threads."""
        for _ in self._threads:
            self._waiting.put(_Slice(2**31, next(self._numbers), None))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (run := self._waiting.get().run) is not None:
            run()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
