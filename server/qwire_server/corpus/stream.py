"""One stream of texts through the engine of this process, for a caller outside its event loop."""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import wait
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from qwire.errors import QwireError, ServerError
from qwire.failures import error_of
from qwire.interrupt import LOOK_UP_SECONDS
from qwire.results import StreamItem, decode
from qwire.split import text_bytes
from qwire_server.api.chunk import Answer
from qwire_server.engine.work import Encoding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from qwire_server.api.flow import Flow
    from qwire_server.api.served import Plan

_CHUNK_TEXTS = 64
# Texts taken and not handed out. The engine's own window is in tokens; this bounds the vectors.
_WINDOW_TEXTS = 4096
_DTYPES = {Encoding.FLOAT32: "<f4", Encoding.FLOAT16: "<f2"}


def stream_items(
    loop: asyncio.AbstractEventLoop, flow: Flow, plan: Plan, texts: Iterator[tuple[Any, Any]]
) -> Generator[StreamItem, None, None]:
    """Put texts into a flow, and yield an item for each in their order.

    Args:
        loop: where the flow lives; it runs in another thread.
        flow: of one stream.
        plan: how each text is embedded.
        texts: pairs of any id and a text.

    Raises:
        ServerError: the device or the engine is lost.
        Exception: whatever the iterator raises, as it is.
    """
    line, wire = _Line(), _Wire(loop, flow, plan)
    ended = False
    try:
        while not ended or len(line):
            if not ended and len(line) < _WINDOW_TEXTS:
                chunk = list(islice(texts, _CHUNK_TEXTS))
                ended = not chunk
                wire.put(*line.join(chunk))
                wire.hear(line, until_one=False)
            else:
                wire.hear(line, until_one=not line.is_ready)
            yield from line.leave()
    finally:
        wire.close()


class _Line:
    """Texts by their number, from when they are taken until they are handed out, in order."""

    def __init__(self) -> None:
        self._first = self._next = 0
        self._ids: dict[int, Any] = {}
        self._items: dict[int, StreamItem] = {}

    def __len__(self) -> int:
        return self._next - self._first

    @property
    def is_ready(self) -> bool:
        """Whether the first one is answered."""
        return self._first in self._items

    def join(self, pairs: list[tuple[Any, Any]]) -> tuple[list[int], list[str]]:
        """Take texts; numbers and texts of those that can be embedded."""
        numbers, texts = [], []
        for own_id, text in pairs:
            number, self._next = self._next, self._next + 1
            try:
                text_bytes(text, number)
            except QwireError as error:
                self._items[number] = StreamItem(own_id, error=error)
                continue
            self._ids[number] = own_id
            numbers.append(number)
            texts.append(text)
        return numbers, texts

    def answer(self, answer: Answer) -> None:
        """Take what the engine says to some of them.

        Raises:
            ServerError: it says that it can work no more.
        """
        for number, error in answer.errors:
            if error.code == "UNAVAILABLE":
                raise ServerError(error.message)
            self._items[number] = StreamItem(
                self._ids.pop(number), error=error_of(error.code, error.message)
            )
        rows = _decoded(answer)
        for row, number, usage in zip(rows, answer.ids, answer.usage, strict=True):
            self._items[number] = StreamItem(self._ids.pop(number), row, *usage)

    def leave(self) -> Generator[StreamItem, None, None]:
        """Hand out those that nobody unanswered is before."""
        while self._first in self._items:
            item = self._items.pop(self._first)
            self._first += 1
            yield item


class _Wire:
    """Crosses into the event loop and back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flow: Flow, plan: Plan) -> None:
        self._loop = loop
        self._flow = flow
        self._plan = plan
        self._inbox: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), loop)

    def put(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        """Give texts to the flow; returns when it wants more.

        Raises:
            ServerError: the listener is gone, and with it who makes room.
        """
        if not numbers:
            return
        fed = asyncio.run_coroutine_threadsafe(
            self._flow.feed(numbers, texts, self._plan), self._loop
        )
        while not wait([fed], LOOK_UP_SECONDS).done:
            if self._listener.done():  # `hear` says why
                fed.cancel()
                return
        fed.result()

    def hear(self, line: _Line, *, until_one: bool) -> None:
        """Take what has come; with `until_one`, something at least."""
        while until_one or not self._inbox.empty():
            try:
                word = self._inbox.get(timeout=LOOK_UP_SECONDS)
            except queue.Empty:
                continue
            until_one = False
            if isinstance(word, Exception):
                raise error_of(getattr(word, "code", ""), str(word)) from word
            line.answer(word)

    def close(self) -> None:
        """Drop what nobody waits for any more."""
        self._listener.cancel()
        asyncio.run_coroutine_threadsafe(self._flow.close(), self._loop).result()

    async def _listen(self) -> None:
        try:
            while True:
                word = await self._flow.next()
                assert isinstance(word, Answer), "nobody finishes this flow: this is a bug"
                self._inbox.put(word)
                self._flow.written(word)
        except Exception as error:  # noqa: BLE001  raised where items are taken
            self._inbox.put(error)


def _decoded(answer: Answer) -> Any:
    """Rows of float32, one for each id."""
    form = answer.form
    raw = np.frombuffer(answer.rows.data, _DTYPES[form.encoding])
    return decode(raw.reshape(len(answer.ids), form.dimensions), form.dimensions, None)
