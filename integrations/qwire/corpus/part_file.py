"""Writes rows into one Parquet file, which gets its name when it is whole.

Columns: `index` of the row in the input, `id` if there is one, `vector` (null of a text that
failed), `tokens`, `truncated`, `error`. Knows nothing about servers.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qwire.corpus.extras import arrow, parquet
from qwire.corpus.manifest import Done, sync_folder
from qwire.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwire.corpus.plan import Part
    from qwire.corpus.rows import Row
    from qwire.results import StreamItem

_GROUP_BYTES = 16 * 2**20  # of vectors in a row group, which is held in memory until it is written
ASIDE = ".part-"  # how the name of what is not a part, or not yet, begins


@dataclass(frozen=True)
class Layout:
    """What all parts of a run have in common.

    Attributes:
        dim: values of a vector.
        dtype: "float32" or "float16".
        id_type: Arrow's, in words; None without ids.
        fingerprint: of the model.
        metadata: of the schema; the fingerprint is added.
    """

    dim: int
    dtype: str
    id_type: str | None
    fingerprint: str
    metadata: dict[str, str] = field(default_factory=dict)

    def schema(self) -> Any:
        """A `pyarrow.Schema`."""
        pa = arrow()
        values = pa.float16() if self.dtype == "float16" else pa.float32()
        ids = [] if self.id_type is None else [("id", pa.type_for_alias(self.id_type))]
        columns = [
            ("index", pa.int64()),
            *ids,
            ("vector", pa.list_(values)),
            ("tokens", pa.int32()),
            ("truncated", pa.int32()),
            ("error", pa.string()),
        ]
        facts = {**self.metadata, "fingerprint": self.fingerprint, "dimensions": str(self.dim)}
        return pa.schema(columns, {f"qwire.{name}": value for name, value in facts.items()})


class PartFile:
    """A part that grows aside; `finish` gives it its name, `discard` takes it away.

    Args:
        folder: of the parts.
        part: which one.
        layout: of all of them.

    Attributes:
        rows: so far.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, part: Part, layout: Layout) -> None:
        self._part = part
        self._layout = layout
        self._path = folder / part.name
        self._aside = folder / f"{ASIDE}{part.number:05}-{uuid.uuid4().hex}"
        self._writer = open_writer(self._aside, layout.schema())
        self._group_rows = max(256, _GROUP_BYTES // (4 * layout.dim))
        self._waiting: list[tuple[Row, StreamItem, str | None]] = []
        self.rows = 0
        self._tokens = self._failed = self._truncated = 0

    def add(self, row: Row, item: StreamItem, error: str | None) -> None:
        """Append a row.

        Raises:
            ServerError: its vector is not as long as the others.
            OSError: it cannot be written.
        """
        vector = item.embedding
        if vector is not None and len(vector) != self._layout.dim:
            raise ServerError(
                f"text {row.index} got a vector of {len(vector)} values, not {self._layout.dim}"
            )
        self._waiting.append((row, item, error))
        self.rows += 1
        self._tokens += item.tokens
        self._failed += error is not None
        self._truncated += item.truncated > 0
        if len(self._waiting) == self._group_rows:
            self._flush()

    def finish(self) -> Done:
        """Give it its name; it outlasts a loss of power then.

        Raises:
            OSError: it cannot be written.
        """
        self._flush()
        self._writer.close()
        size = name_whole(self._aside, self._path)
        return Done(
            self._part.number,
            self.rows,
            size,
            self._tokens,
            self._failed,
            self._truncated,
            self._layout.fingerprint,
        )

    def discard(self) -> None:
        """Take it away."""
        try:
            self._writer.close()
        except OSError:  # the disk is full still
            pass
        finally:
            self._aside.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(_table(self._waiting, self._layout))
            self._waiting = []


def open_writer(path: Path, schema: Any) -> Any:
    """A `pyarrow.parquet.ParquetWriter`: vectors are no text, and do not get smaller."""
    return parquet().ParquetWriter(path, schema, compression="none", use_dictionary=False)


def name_whole(aside: Path, path: Path) -> int:
    """Give a file that is closed its name, so that it outlasts a loss of power; its bytes."""
    with aside.open("r+b") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    aside.replace(path)
    sync_folder(path.parent)
    return size


def asides(folder: Path) -> Iterator[Path]:
    """What runs that were killed left of unfinished parts."""
    return folder.glob(f"{ASIDE}*")


def _table(rows: list[tuple[Row, StreamItem, str | None]], layout: Layout) -> Any:
    pa = arrow()
    schema = layout.schema()
    columns: dict[str, Any] = {
        "index": [row.index for row, _, _ in rows],
        "id": [row.id for row, _, _ in rows],
        "vector": _vectors([item for _, item, _ in rows], layout),
        "tokens": [item.tokens for _, item, _ in rows],
        "truncated": [item.truncated for _, item, _ in rows],
        "error": [error for _, _, error in rows],
    }
    if layout.id_type == "string":
        columns["id"] = [None if row.id is None else str(row.id) for row, _, _ in rows]
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _vectors(items: list[StreamItem], layout: Layout) -> Any:
    """A ListArray; null where there is no vector.

    Not of a fixed size: before 26, pyarrow neither writes nor reads nulls among such.
    """
    pa = arrow()
    found = [item.embedding for item in items if item.embedding is not None]
    values = np.empty((len(found), layout.dim), layout.dtype)
    for at, vector in enumerate(found):
        values[at] = vector
    missing = np.array([item.embedding is None for item in items], bool)
    offsets = np.concatenate([[0], np.cumsum(~missing)]).astype(np.int32) * layout.dim
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values.reshape(-1)), mask=pa.array(missing)
    )
