"""Rows as JSON: arrays of floats, or base64 of their bytes.

Measured for 256 rows of 1024 values on one core: `json` 346 ms, orjson on lists 15 ms (and twice
the digits), orjson on the float32 values themselves 9 ms, base64 2 ms. Both hold the interpreter's
lock while they run, so a thread would not help others: rows are written a few at a time in the
event loop, and between two times everybody else has a turn.
"""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire_server.engine.work import Rows

_VALUES_AT_A_TIME = 32 * 1024  # about a millisecond of floats, or less


async def written(rows: Rows, dim: int, *, base64: bool) -> list[bytes]:
    """The JSON value of each float32 row, in their order."""
    values: list[bytes] = []
    for part in _parts(memoryview(rows.data), dim):
        if values:
            await asyncio.sleep(0)
        values += _base64(part, dim * 4) if base64 else _floats(part, dim)
    return values


def _parts(data: memoryview, dim: int) -> Iterator[memoryview]:
    step = max(_VALUES_AT_A_TIME // dim, 1) * dim * 4
    return (data[start : start + step] for start in range(0, len(data), step))


def _base64(part: memoryview, stride: int) -> list[bytes]:
    """No copy on the way: base64 reads the rows where they are."""
    starts = range(0, len(part), stride)
    return [b'"%b"' % b2a_base64(part[i : i + stride], newline=False) for i in starts]


def _floats(part: memoryview, dim: int) -> list[bytes]:
    """As few digits as give the same float32; all rows at once, which is faster than one by one."""
    table = np.frombuffer(part, np.float32).reshape(-1, dim)
    whole = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    return [b"[%b]" % row for row in whole[2:-2].split(b"],[")]
