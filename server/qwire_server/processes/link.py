"""One end of a connection between two processes of a server.

A message is two sizes, a head in JSON and a body of bytes. What is told gets no answer, what is
asked gets one. The order is kept, so an answer to a question is behind what was told before it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from qwire_server.errors import BY_CODE, Internal, RequestError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_LOG = logging.getLogger("qwire.server")
_SIZES = struct.Struct("<II")  # of head and body, in bytes
READ_BYTES = 4 * 2**20  # read ahead of what is taken: rows of a few chunks
_LOST = "a process of this server ended before it answered: try again"

Facts: TypeAlias = "dict[str, Any]"
Told: TypeAlias = "Callable[[Facts, bytes], None]"
Asked: TypeAlias = "Callable[[Facts], Answer | Awaitable[Answer]]"


class Answer:
    """To a question.

    Args:
        facts: what JSON can hold.
        body: bytes beside them.
    """

    __slots__ = ("body", "facts")

    def __init__(self, facts: Facts | None = None, body: bytes = b"") -> None:
        self.facts = facts or {}
        self.body = body


class Link:
    """Talks to another process, in one event loop.

    Args:
        reader: of the connection.
        writer: of the connection.
        told: what to do with what is told, by its name.
        asked: how to answer what is asked, by its name.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        told: Mapping[str, Told] | None = None,
        asked: Mapping[str, Asked] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._told = told or {}
        self._asked = asked or {}
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[Answer]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def tell(self, what: str, body: bytes = b"", **facts: Any) -> None:
        """Send something that needs no answer; what is told to an end that is gone is dropped."""
        facts["tell"] = what
        self._send(facts, body)

    async def ask(self, what: str, **facts: Any) -> Answer:
        """Send a question, and wait for its answer.

        Raises:
            RequestError: that the other end answered with.
            Unavailable: it is gone.
        """
        if self._writer.is_closing():
            raise Unavailable(_LOST)
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._questions[number] = answer
        facts.update(ask=what, number=number)
        self._send(facts, b"")
        try:
            return await answer
        finally:
            del self._questions[number]

    async def run(self) -> None:
        """Read until the other end is gone; then whoever still waits for an answer is told so."""
        try:
            while True:
                head, size = _SIZES.unpack(await self._reader.readexactly(_SIZES.size))
                facts = json.loads(await self._reader.readexactly(head))
                self._take(facts, await self._reader.readexactly(size) if size else b"")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer.close()
            for task in self._answering:
                task.cancel()
            for answer in self._questions.values():
                if not answer.done():
                    answer.set_exception(Unavailable(_LOST))

    def close(self) -> None:
        """Send what was told, and end."""
        self._flush()
        self._writer.close()

    async def drain(self) -> None:
        """Wait until all that was told is on its way, or the other end is gone."""
        self._flush()
        with suppress(OSError):
            await self._writer.drain()

    def _take(self, facts: Facts, body: bytes) -> None:
        if (what := facts.get("tell")) is not None:
            self._told[what](facts, body)
        elif (what := facts.get("ask")) is not None:
            self._answer(what, facts)
        elif (answer := self._questions.get(facts["answer"])) and not answer.done():
            if error := facts.get("error"):
                answer.set_exception(_error_of(error))
            else:
                answer.set_result(Answer(facts["facts"], body))

    def _answer(self, what: str, facts: Facts) -> None:
        """At once if that can be done, else in a task."""
        number: int = facts["number"]
        try:
            answer = self._asked[what](facts)
        except Exception as error:  # noqa: BLE001  told to who asked
            self._refuse(number, error)
            return
        if isinstance(answer, Answer):
            self._reply(number, answer)
            return
        task = asyncio.ensure_future(self._answer_later(number, answer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer_later(self, number: int, answer: Awaitable[Answer]) -> None:
        try:
            self._reply(number, await answer)
        except Exception as error:  # noqa: BLE001  told to who asked
            self._refuse(number, error)

    def _reply(self, number: int, answer: Answer) -> None:
        self._send({"answer": number, "facts": answer.facts}, answer.body)

    def _refuse(self, number: int, error: Exception) -> None:
        if not isinstance(error, RequestError):
            _LOG.exception("a process of this server asked what could not be answered")
            error = Internal(f"this server has a bug ({type(error).__name__}): its log tells more")
        told = {"code": error.code, "message": error.message, "retry_after": error.retry_after}
        self._send({"answer": number, "error": told}, b"")

    def _send(self, facts: Facts, body: bytes) -> None:
        if self._writer.is_closing():
            return
        head = json.dumps(facts, separators=(",", ":")).encode()
        if not self._out:  # whatever this turn of the event loop sends goes in one piece
            self._loop.call_soon(self._flush)
        self._out += (_SIZES.pack(len(head), len(body)), head, body)

    def _flush(self) -> None:
        if self._out and not self._writer.is_closing():
            self._writer.write(b"".join(self._out))
        self._out.clear()


def _error_of(told: Facts) -> RequestError:
    return BY_CODE[told["code"]](told["message"], retry_after=told["retry_after"])
