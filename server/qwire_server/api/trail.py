"""What a call leaves behind for those who watch. Filled in on its way, by the event loop only."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from qwire_server.api.spans import NO_SPAN
from qwire_server.api.timings import NO_TIME
from qwire_server.engine.observer import AnswerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.api.spans import Span
    from qwire_server.api.timings import Timings
    from qwire_server.engine.observer import RequestRecord
    from qwire_server.engine.work import RequestClass


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
        self._computed: AnswerRecord | None = None  # a whole request's, until the call ends
        self._ready = 0.0

    def planned(self, model: str, request_class: RequestClass) -> None:
        """The request was understood, and fits the model."""
        self._model, self._class = model, request_class.name.lower()

    def computed(self, texts: int, cut: Sequence[int], timings: Timings) -> None:
        """All rows of a request are there; what follows is its reply."""
        self._computed, self._ready = self._record(texts, cut, (), timings, 0.0), time.monotonic()
        self._took += timings
        self._span.computed(self._computed)

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

    def end(self, record: RequestRecord) -> RequestRecord:
        """The call is over: tell, and return its record with what was found on the way."""
        if self._computed:
            self._reply = time.monotonic() - self._ready
            self._tell(replace(self._computed, reply_seconds=self._reply))
        record = replace(
            record,
            model=self._model,
            request_class=self._class or record.request_class,
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
