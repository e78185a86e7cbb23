"""Tells how far a call is: the caller's callback, a bar on the terminal, or both."""

from __future__ import annotations

import sys
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from typing_extensions import Self

    from qwire.results import StreamItem


class Progress:
    """Counts answered texts. In `with`, so that the bar ends its line whatever happens."""

    def __init__(
        self, callback: Callable[[int, int | None], None] | None, show: bool, total: int | None
    ) -> None:
        self._callback = callback
        self._total = total
        self._done = 0
        self._bar = _bar(total) if show else None

    def add(self, count: int) -> None:
        """`count` more texts are answered."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        if self._callback is not None:
            self._callback(self._done, self._total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.close()


def counted(
    stream: Generator[StreamItem, None, None], progress: Progress
) -> Generator[StreamItem, None, None]:
    """The same items, each of them counted when the caller comes back for the next one."""
    with progress, closing(stream):
        for item in stream:
            yield item
            progress.add(1)


async def acounted(
    stream: AsyncGenerator[StreamItem, None], progress: Progress
) -> AsyncGenerator[StreamItem, None]:
    """`counted` of an async stream."""
    with progress:
        async with aclosing(stream):
            async for item in stream:
                yield item
                progress.add(1)


def _bar(total: int | None) -> Any:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415  # optional
    except ImportError:
        return PlainBar(total)
    return tqdm(total=total, unit="text")


class PlainBar:
    """One line on stderr, rewritten; stands in for tqdm."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0

    def update(self, count: int) -> None:
        """Write the new count over the old."""
        self._done += count
        of = "" if self._total is None else f"/{self._total}"
        sys.stderr.write(f"\r{self._done}{of} texts")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        sys.stderr.write("\n")
