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


def slices(texts: Sequence[str]) -> Iterator[range]:
    """Cut a list of texts into runs of at most `SLICE_TEXTS` texts and about `SLICE_CHARS`."""
    first, chars = 0, 0
    for i, text in enumerate(texts):
        if i > first and (i - first == SLICE_TEXTS or chars + len(text) > SLICE_CHARS):
            yield range(first, i)
            first, chars = i, 0
        chars += len(text)
    if first < len(texts):
        yield range(first, len(texts))


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
