"""Rows of one request, put together from the outcomes of its batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qwire_server.engine.rows import row_bytes
from qwire_server.engine.work import Rows
from qwire_server.errors import BY_CODE, Internal

if TYPE_CHECKING:
    from qwire_server.engine.work import Failure, Outcome, RowForm
    from qwire_server.errors import RequestError


class Gather:
    """Puts the rows of one request together; its first failure is the request's.

    Attributes:
        whole: the rows, once all are there.
        seconds: that the batches of its texts took so far.
    """

    def __init__(self, texts: int, form: RowForm) -> None:
        self.whole: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self.seconds = 0.0
        self._missing = texts
        self._form = form
        self._data = bytearray()
        self._scales = bytearray()
        self._texts = texts

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of one batch."""
        if self.whole.done():
            return
        self.seconds += outcome.seconds
        if outcome.failures:
            self.whole.set_exception(error_of(outcome.failures[0]))
            return
        if outcome.rows.count == self._texts:  # all in one batch, as most are: no copy
            self.whole.set_result(outcome.rows)
            return
        self._place(outcome)
        if not self._missing:
            self.whole.set_result(Rows(bytes(self._data), self._texts, bytes(self._scales)))

    def fail(self, error: Exception) -> None:
        """The request fails with this error."""
        if not self.whole.done():
            self.whole.set_exception(error)

    def _place(self, outcome: Outcome) -> None:
        stride = row_bytes(self._form)
        scale_stride = len(outcome.rows.scales) // outcome.rows.count
        self._data = self._data or bytearray(stride * self._texts)
        self._scales = self._scales or bytearray(scale_stride * self._texts)
        _scatter(outcome.rows.data, self._data, outcome.indices, stride)
        _scatter(outcome.rows.scales, self._scales, outcome.indices, scale_stride)
        self._missing -= len(outcome.indices)


def _scatter(source: bytes, target: bytearray, indices: list[int], stride: int) -> None:
    for row, index in enumerate(indices):
        target[index * stride : (index + 1) * stride] = source[row * stride : (row + 1) * stride]


def error_of(failure: Failure) -> RequestError:
    """The error that a front raises for an engine's failure."""
    kind = BY_CODE.get(failure.code, Internal)
    return kind(failure.message, index=failure.index)
