"""One batch, from its rows to the answers of its works; a failure is narrowed to its culprit.

Knows nothing about queues.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from qwire_server.engine.rows import encode, finish, finite, row_bytes
from qwire_server.engine.work import Failure, Outcome, Rows
from qwire_server.model.errors import DeviceLost, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from qwire_server.engine.queue.item import Entry, Item
    from qwire_server.engine.runner import Runner
    from qwire_server.engine.work import RowForm, TokenIds

_LOG = logging.getLogger("qwire.server")
_NOT_FINITE = (
    "the model's vector for this text is not finite: no vector is better than a wrong one; "
    "another dtype may help (--dtype float32)"
)
_TOO_BIG = "this text alone does not fit the device's memory: lower --max-tokens"


@dataclass(slots=True)
class Done:
    """Answers to a batch, and what it took; the counts are those of `observer.BatchRecord`."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: int = 0
    splits: int = 0
    not_finite: int = 0
    retried: int = 0


def answered(items: list[Item], rows: NDArray[np.float32]) -> Done:
    """Answer each item with its row, or say that the row is not finite."""
    done = Done()
    _answer(done, items, rows)
    return done


def narrowed(runner: Runner, items: list[Item], error: Exception) -> Done:
    """Run a batch again, that failed with `error`, in parts, and answer each item.

    Out of memory is met by halving the batch, any other error by running each text alone once more.

    Raises:
        DeviceLost: the device is gone; nothing was answered.
    """
    done = Done()
    for part, rows in _parts(runner, items, error, done):
        _answer(done, part, rows)
    return done


def _parts(
    runner: Runner, items: list[Item], error: Exception, done: Done, *, alone: bool = False
) -> Iterator[tuple[list[Item], NDArray[np.float32]]]:
    """Yield parts of a failed batch with their rows; what cannot be run is failed in `done`."""
    parts: Iterable[list[Item]]
    if isinstance(error, OutOfMemory):
        if len(items) == 1:
            _fail(done, items[0], "MODEL_FAILED", _TOO_BIG)
            return
        done.splits += 1
        middle = len(items) // 2
        parts = (items[:middle], items[middle:])
    else:
        _LOG.error("a batch of %d texts failed", len(items), exc_info=error)
        if alone:
            _fail(done, items[0], "MODEL_FAILED", f"the model failed ({type(error).__name__})")
            return
        alone, parts = True, ([item] for item in items)
    for part in parts:
        yield from _again(runner, part, done, alone=alone)


def _again(
    runner: Runner, part: list[Item], done: Done, *, alone: bool
) -> Iterator[tuple[list[Item], NDArray[np.float32]]]:
    done.retried += len(part)
    try:
        ran = runner.launch(ids_of(part)).wait()
    except DeviceLost:
        raise
    except Exception as error:  # noqa: BLE001  narrowed to its text, and told
        yield from _parts(runner, part, error, done, alone=alone)
    else:
        yield part, ran.rows


def _answer(done: Done, items: list[Item], rows: NDArray[np.float32]) -> None:
    sound = finite(rows)
    good = [item for item, is_sound in zip(items, sound, strict=True) if is_sound]
    for item, is_sound in zip(items, sound, strict=True):
        if not is_sound:
            done.not_finite += 1
            _fail(done, item, "NOT_FINITE", _NOT_FINITE)
    if good:
        done.outcomes += _finished(good, rows if len(good) == len(items) else rows[sound])


def _fail(done: Done, item: Item, code: str, message: str) -> None:
    failure = Failure(item.index, code, message)
    done.outcomes.append(Outcome(item.entry.work.key, failures=[failure]))
    done.failed += 1


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
