"""A few threads that tokenise in small slices, those of people before those of jobs.

Short slices go before long ones, and one thread takes no long ones: whatever texts others send, a
short slice waits for short ones only. Knows nothing about tokens: a slice is any function.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

_LOG = logging.getLogger("qwire.server")
SLICE_TEXTS = 64  # about 5 ms of work: how long a question may have to wait for a job's slice
SLICE_CHARS = 256 * 1024  # one text of that size takes 0.05 to 1 s
_PROMPT_CHARS = 8 * 1024
LONG_CHARS = 32 * 1024  # of a slice that counts as long


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


def parts_of(texts: Sequence[str], prompt: str = "") -> Iterator[tuple[Sequence[str], int]]:
    """Slices of texts for the tokeniser, and the characters of each, a prompt before each text.

    A longer prompt than an instruction may be is a query's, and tokenised once for each slice.
    """
    sizes = [len(text) + min(len(prompt), _PROMPT_CHARS) for text in texts]
    for part in slices(sizes, SLICE_CHARS):
        yield texts[part], sum(sizes[part])


@dataclass(order=True, slots=True)
class _Slice:
    priority: int
    is_long: bool
    number: int  # first come, first served within a priority
    task: _Task | None = field(compare=False)


class Pool:
    """Runs functions in threads, the lowest priority number first, short ones before long ones.

    Args:
        threads: number of threads that run any function; one more runs short ones.
    """

    def __init__(self, threads: int) -> None:
        self._short: list[_Slice] = []
        self._long: list[_Slice] = []
        self._waiting = threading.Condition()
        self._numbers = itertools.count()
        self._count = threads
        self._threads = [
            threading.Thread(
                target=self._work, args=(i < threads,), name=f"qwire-tokenizer-{i}", daemon=True
            )
            for i in range(threads + 1)
        ]
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        return f"<Pool {self._count} threads, {len(self._short) + len(self._long)} slices wait>"

    async def run(self, priority: int, function: Callable[..., T], *args: Any, chars: int = 0) -> T:
        """Run `function(*args)` in a thread; a caller that is cancelled first saves the work.

        `chars`: that it works on, which tell how long it takes.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        task = _Task(loop, future, partial(function, *args))
        self._put(_Slice(priority, chars > LONG_CHARS, next(self._numbers), task))
        return await future

    @property
    def threads(self) -> int:
        """Threads that tokenise."""
        return self._count

    def close(self) -> None:
        """Finish what waits, end the threads."""
        for _ in self._threads:
            self._put(_Slice(2**31, False, next(self._numbers), None))
        for thread in self._threads:
            thread.join()

    def _put(self, one: _Slice) -> None:
        with self._waiting:
            heapq.heappush(self._long if one.is_long else self._short, one)
            self._waiting.notify_all()

    def _get(self, *, takes_long: bool) -> _Slice:
        """Wait for the slice that is next for this kind of thread."""
        with self._waiting:
            while True:
                heaps = [self._short, self._long] if takes_long else [self._short]
                if filled := [heap for heap in heaps if heap]:
                    return heapq.heappop(min(filled, key=lambda heap: heap[0]))
                self._waiting.wait()

    def _work(self, takes_long: bool) -> None:
        while self._work_once(takes_long=takes_long):
            pass

    def _work_once(self, *, takes_long: bool) -> bool:
        """Run one slice; False at the end. Whatever happens costs one slice, never the thread."""
        task = None
        try:
            task = self._get(takes_long=takes_long).task
            if task is None:
                return False
            task.run()
        except BaseException as error:  # noqa: BLE001  told to who waits
            _LOG.exception("a tokenizer thread was disturbed, and goes on")
            if task:
                task.fail(error)
        return True


class _Task:
    """A function on its way to a thread, and the future of who waits for it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], function: Callable[[], T]
    ) -> None:
        self._loop = loop
        self._future = future
        self._function = function

    def run(self) -> None:
        """Called by a thread."""
        if self._future.cancelled():
            return
        try:
            result = checked(self._function)
        except BaseException as error:  # noqa: BLE001  it belongs to the caller
            self.fail(error)
        else:
            self._loop.call_soon_threadsafe(_settle, self._future, result, None)

    def fail(self, error: BaseException) -> None:
        """Called by a thread."""
        told = error if isinstance(error, Exception) else _foreign(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, self._future, None, told)


def checked(function: Callable[..., T], *args: Any) -> T:
    """Call a library; a panic of Rust, which is no `Exception` in Python, becomes one."""
    try:
        return function(*args)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _foreign(error) from error


def _foreign(error: BaseException) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__}: {error}")


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
