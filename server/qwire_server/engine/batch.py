"""One batch, from its rows to the answers of its works. Knows nothing about queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from qwire_server.engine.rows import encode, finish, row_bytes
from qwire_server.engine.work import Failure, Outcome, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.engine.queue.item import Entry, Item
    from qwire_server.engine.work import RowForm, TokenIds


@dataclass(slots=True)
class Done:
    """Answers to a batch, and what it took; the counts are those of `observer.BatchRecord`."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: int = 0
    splits: int = 0
    not_finite: int = 0
    retried: int = 0


def answered(items: list[Item], rows: NDArray[np.float32]) -> list[Outcome]:
    """Answer each item with its row; all of them are finite."""
    return list(_finished(items, rows))


def failed(item: Item, code: str, message: str) -> Outcome:
    """Answer one item with an error."""
    return Outcome(item.entry.work.key, failures=[Failure(item.index, code, message)])


def _finished(items: list[Item], pooled: NDArray[np.float32]) -> Iterator[Outcome]:
    """Finish rows in runs of one form, then cut the bytes at the borders between works."""
    start = 0
    for form, same_form in groupby(items, key=_form):
        run = list(same_form)
        encoded = encode(finish(pooled[start : start + len(run)], form), form.encoding)
        start += len(run)
        first = 0
        for entry, same_work in groupby(run, key=_entry):
            indices = [item.index for item in same_work]
            rows = _cut(encoded, form, first, first + len(indices))
            first += len(indices)
            yield Outcome(entry.work.key, indices, rows)


def _cut(encoded: Rows, form: RowForm, first: int, last: int) -> Rows:
    if last - first == encoded.count:
        return encoded
    stride = row_bytes(form)
    data = encoded.data[first * stride : last * stride]
    return Rows(data, last - first, encoded.scales[first * 4 : last * 4])


def ids_of(items: list[Item]) -> list[TokenIds]:
    """Token ids of each text."""
    return [item.entry.work.token_ids[item.index] for item in items]


def prefixes_of(items: list[Item]) -> list[int]:
    """How many leading tokens each text is likely to share with others."""
    return [item.entry.work.prefix for item in items]


def _form(item: Item) -> RowForm:
    return item.entry.work.form


def _entry(item: Item) -> Entry:
    return item.entry
