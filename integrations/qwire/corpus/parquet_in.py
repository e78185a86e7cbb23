"""Reads texts from a column of a Parquet file, batch by batch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from qwire.corpus.csv_in import find_column
from qwire.corpus.extras import parquet
from qwire.corpus.rows import Row, check_text
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwire.corpus.rows import Form

_BATCH_ROWS = 1024
_BUFFER_BYTES = 2**20  # instead of a whole column of a row group
_TEXTS = ("string", "large_string", "string_view")
_IDS = (*_TEXTS, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def open_parquet(path: str, form: Form) -> Any:
    """A `pyarrow.parquet.ParquetFile` that has the columns.

    Raises:
        InvalidRequestError: it cannot be read, or a column is not there or of another type.
    """
    pq = parquet()
    try:
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise InvalidRequestError(f"the input cannot be read: {error}") from None
    _check_column(file, form.text_column, _TEXTS, "a text is a string")
    if form.id_column is not None:
        _check_column(file, form.id_column, _IDS, "an id is a string or a whole number")
    return file


def id_type(name: str, form: Form) -> str | None:
    """The Arrow type of the ids of an input of any form, in words; None where there are none."""
    if form.id_column is None or form.format == "txt":
        return None
    if form.format != "parquet":
        return "string"
    with open_parquet(name, form) as file:
        found = str(_plain(file.schema_arrow.field(form.id_column).type))
    return "string" if found in _TEXTS else found


def read_parquet(file: Any, form: Form, index: int = 0) -> Iterator[tuple[Row, Any]]:
    """Each row from `index` on and its text; None with an error.

    Raises:
        OSError: the file is damaged.
    """
    columns = list(dict.fromkeys(filter(None, (form.text_column, form.id_column))))
    group, skipped = _row_group(file, index)
    groups = range(group, file.num_row_groups)
    at, hashed = skipped, hashlib.sha256()
    for batch in file.iter_batches(_BATCH_ROWS, groups, columns, use_threads=False):
        part = batch.slice(max(index - at, 0))
        at += len(batch)
        texts = part.column(form.text_column).to_pylist()
        ids = part.column(form.id_column).to_pylist() if form.id_column else [None] * len(texts)
        for text, own_id in zip(texts, ids, strict=True):
            hashed.update(repr((own_id, text)).encode())
            index += 1
            error = _error(text)
            row = Row(index - 1, index, index, hashed.digest(), own_id, error)
            yield row, None if error else text


def _row_group(file: Any, index: int) -> tuple[int, int]:
    """The row group that holds a row, and how many rows come before it."""
    before = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if index < before + rows:
            return group, before
        before += rows
    return file.num_row_groups, before


def _check_column(file: Any, name: str, types: tuple[str, ...], rule: str) -> None:
    schema = file.schema_arrow
    found = _plain(schema.field(find_column(schema.names, name)).type)
    if str(found) not in types:
        raise InvalidRequestError(f"column {name!r} of the input is {found}, and {rule}")


def _plain(kind: Any) -> Any:
    """The type of the values, where they are kept as indices into a dictionary."""
    return getattr(kind, "value_type", kind) if str(kind).startswith("dictionary") else kind


def _error(text: Any) -> str | None:
    try:
        check_text(text, "the text")
    except ValueError as error:
        return str(error)
    return None
