"""From the model's pooled rows to the bytes of a reply: cut, normalise, check, encode.

Pure numpy; knows nothing about batches or requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwire_server.engine.work import Encoding, RowForm, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INT8_STEPS = 127
_FLOAT16_MAX = 65504  # beyond it a value would become infinity


def finish(pooled: NDArray[np.float32], form: RowForm) -> NDArray[np.float32]:
    """Cut rows to `form.dimensions`, then scale each to length 1 (L2).

    The order is that of the model card: cutting after normalising would leave rows short.

    Args:
        pooled: (rows, native dim) float32.
        form: what the request asked for.

    Returns:
        (rows, dimensions) float32. A row of zeros stays zero.
    """
    rows = pooled[:, : form.dimensions]
    if not form.normalize:
        return np.ascontiguousarray(rows)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    lengths[lengths == 0] = 1
    return np.asarray(rows / lengths[:, None], dtype=np.float32)


def finite(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each row, whether all of its values are finite; shape (rows,)."""
    return np.asarray(np.isfinite(rows).all(axis=1))


def encode(rows: NDArray[np.float32], encoding: Encoding) -> Rows:
    """Write rows as `qwire.v1.Encoding` defines them."""
    if encoding is Encoding.FLOAT16:
        return Rows(np.clip(rows, -_FLOAT16_MAX, _FLOAT16_MAX).astype("<f2").tobytes(), len(rows))
    if encoding is Encoding.INT8:
        scales = (np.abs(rows).max(axis=1, initial=0) / _INT8_STEPS).astype("<f4")
        safe = np.where(scales == 0, np.float32(1), scales)
        steps = np.clip(np.rint(rows / safe[:, None]), -_INT8_STEPS, _INT8_STEPS)
        return Rows(steps.astype(np.int8).tobytes(), len(rows), scales.tobytes())
    if encoding is Encoding.BINARY:
        return Rows(np.packbits(rows > 0, axis=1).tobytes(), len(rows))
    return Rows(rows.astype("<f4", copy=False).tobytes(), len(rows))


def row_bytes(form: RowForm) -> int:
    """Bytes that one row takes in `Rows.data`."""
    per_value = {Encoding.FLOAT32: 4, Encoding.FLOAT16: 2, Encoding.INT8: 1}
    if form.encoding is Encoding.BINARY:
        return (form.dimensions + 7) // 8
    return form.dimensions * per_value[form.encoding]
