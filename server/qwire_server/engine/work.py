"""What crosses the seam between a front and the engine: plain data, nothing else.

A front gives `Work`; the engine answers every text of it in one or more `Outcome`s. Neither holds a
future, a protobuf message or a tensor, so that both could cross a process boundary as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

TokenIds: TypeAlias = NDArray[np.int32]
"""Ids of one text, special tokens included; shape (tokens,)."""


class RequestClass(IntEnum):
    """Whose turn it is when both wait; the lower value goes first."""

    INTERACTIVE = 1
    BULK = 2


class Encoding(IntEnum):
    """How rows are written; the values are those of `qwire.v1.Encoding`, which defines each."""

    FLOAT32 = 1
    FLOAT16 = 2
    INT8 = 3
    BINARY = 4


@dataclass(frozen=True, slots=True)
class RowForm:
    """How rows of one request are finished: cut to `dimensions`, scaled to length 1, encoded."""

    dimensions: int
    normalize: bool = True
    encoding: Encoding = Encoding.FLOAT32


@dataclass(frozen=True, slots=True)
class Work:
    """One request, or one chunk of a stream.

    Attributes:
        key: chosen by the front, unique among its works in flight; outcomes carry it.
        token_ids: one array for each text.
        costs: of each text, in microseconds of device time, as estimated.
        deadline: seconds on the monotonic clock; infinity if there is none.
        client: identity that shares and quotas are counted by.
        prefix: how many leading tokens its texts are likely to share, with each other and with
            other works; a hint.
        device: the one that does it, of those that this server has; 0 is the first.
    """

    key: int
    token_ids: list[TokenIds]
    costs: list[int]
    form: RowForm
    model: str
    request_class: RequestClass = RequestClass.INTERACTIVE
    deadline: float = float("inf")
    client: str = ""
    request_id: str = ""
    prefix: int = 0
    device: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """Finished rows, row-major and little-endian; `scales` only for INT8."""

    data: bytes
    count: int
    scales: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why text `index` of a work has no row; `code` is a key of `errors.BY_CODE`."""

    index: int
    code: str
    message: str


NO_ROWS = Rows(b"", 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to some texts of one work: `indices[i]` has row i of `rows`.

    Attributes:
        seconds: that their batch took on the device.
    """

    key: int
    indices: list[int] = field(default_factory=list)
    rows: Rows = NO_ROWS
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
