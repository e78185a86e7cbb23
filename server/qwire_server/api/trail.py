"""What a call leaves behind for those who watch. Filled in on its way, by the event loop only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from qwire_server.api.spans import NO_SPAN
from qwire_server.api.timings import NO_TIME
from qwire_server.engine.observer import AnswerRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.api.call import Call
    from qwire_server.api.spans import Span
    from qwire_server.api.timings import Timings
    from qwire_server.engine.work import RequestClass


class Used(Protocol):
    """What a call used."""

    @property
    def texts(self) -> int:
        """That it had."""

    @property
    def tokens(self) -> int:
        """That were computed."""

    @property
    def cut(self) -> int:
        """Tokens left out."""


class Trail:
    """Of one call.

    Args:
        told: gets a record whenever texts were answered.
        span: of whoever traces the call.
    """

    def __init__(
        self, told: Callable[[AnswerRecord], None] | None = None, span: Span = NO_SPAN
    ) -> None:
        self._told = told
        self._span = span
        self._model = ""
        self._class = ""
        self._failed = 0
        self._took = NO_TIME
        self._reply = 0.0
        # Of a whole request, until the call ends.
        self._texts = 0
        self._cut: Sequence[int] = ()
        self._ready = 0.0

    def planned(self, model: str, request_class: RequestClass) -> None:
        """The request was understood, and fits the model."""
        self._model, self._class = model, request_class.name.lower()

    def computed(self, texts: int, cut: Sequence[int], timings: Timings) -> None:
        """All rows of a request are there; what follows is its reply."""
        self._texts, self._cut, self._took = texts, cut, timings
        self._ready = time.monotonic()
        self._span.computed(timings)

    def wrote(
        self,
        texts: int,
        cut: Sequence[int],
        errors: tuple[str, ...],
        timings: Timings,
        ready: float,
    ) -> None:
        """A message of a stream was written.

        Args:
            texts: that it answers.
            cut: tokens left out of each text that it has a row for.
            errors: code of each text that failed.
            timings: of its rows.
            ready: when they were there, seconds on the monotonic clock.
        """
        reply = time.monotonic() - ready
        record = self._record(texts, cut, errors, timings, reply)
        self._failed += len(errors)
        self._took += timings
        self._reply += reply
        self._tell(record)
        self._span.wrote(record)

    def end(
        self,
        call: Call,
        used: Used,
        *,
        code: str,
        reason: str,
        default_class: RequestClass,
        seconds: float,
    ) -> RequestRecord:
        """The call is over: tell, and return its record.

        Args:
            call: this one.
            used: what it used.
            code: the gRPC status.
            reason: the error code, if there is one.
            default_class: of a call that was refused before it had another.
            seconds: since it came.
        """
        if self._ready:
            self._reply = time.monotonic() - self._ready
            self._tell(self._record(self._texts, self._cut, (), self._took, self._reply))
        record = RequestRecord(
            method=call.method,
            request_id=call.request_id,
            client=call.client,
            request_class=self._class or default_class.name.lower(),
            code=code,
            reason=reason,
            texts=used.texts,
            tokens=used.tokens,
            cut=used.cut,
            seconds=seconds,
            model=self._model,
            failed=self._failed,
            tokenize_seconds=self._took.tokenize,
            queue_seconds=self._took.queue,
            compute_seconds=self._took.compute,
            reply_seconds=self._reply,
        )
        self._span.end(record)
        return record

    def _record(
        self,
        texts: int,
        cut: Sequence[int],
        errors: tuple[str, ...],
        timings: Timings,
        reply: float,
    ) -> AnswerRecord:
        return AnswerRecord(
            model=self._model,
            request_class=self._class,
            texts=texts,
            cut_texts=sum(map(bool, cut)),
            cut=sum(cut),
            errors=errors,
            tokenize_seconds=timings.tokenize,
            queue_seconds=timings.queue,
            compute_seconds=timings.compute,
            reply_seconds=reply,
        )

    def _tell(self, record: AnswerRecord) -> None:
        if self._told:
            self._told(record)
