"""A few threads that tokenise in small slices, those of people before those of jobs.

Knows nothing about tokens: a slice is any function.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
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
    task: _Task | None = field(compare=False)


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
        task = _Task(loop, future, partial(function, *args))
        self._waiting.put(_Slice(priority, next(self._numbers), task))
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
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Run one slice; False at the end. Whatever happens costs one slice, never the thread."""
        task = None
        try:
            task = self._waiting.get().task
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
