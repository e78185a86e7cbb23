"""Reads texts from the columns of a CSV file. Knows no servers and no vectors."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from qwire.corpus.rows import Row, check_text
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwire.corpus.lines import Lines
    from qwire.corpus.rows import Form, Start

_DELIMITERS = {"csv": ",", "tsv": "\t"}
# As many characters as a message can hold; what is longer, a missing quote mostly, is an error.
_LONGEST_FIELD = 16 * 1024 * 1024


def read_csv(lines: Lines, form: Form, start: Start) -> Iterator[tuple[Row, Any]]:
    """Each row and its text; None with an error. The first record is the header.

    Fields may be quoted and hold line ends, as RFC 4180 has it. Blank lines are no rows.

    Args:
        lines: of the input, from its beginning.
        form: "csv" or "tsv", and which columns.
        start: where to go on, behind the header.

    Raises:
        InvalidRequestError: a column is not there.
    """
    csv.field_size_limit(_LONGEST_FIELD)  # of the process: csv has no other
    records = csv.reader(_decoded(lines), strict=True, delimiter=_DELIMITERS[form.format])
    header = next(records, [])
    text_at = find_column(header, form.text_column)
    id_at = None if form.id_column is None else find_column(header, form.id_column)
    lines.skip_to(start)
    index = start.index
    while True:
        line = lines.number + 1
        text = own_id = error = None
        try:
            record = next(records)
            if not record:
                continue
            if len(record) != len(header):
                raise ValueError(_count(len(record), len(header)))  # noqa: TRY301  the one way out
            lines.check()
            own_id = None if id_at is None else _sound(record[id_at], "id")
            text = check_text(_sound(record[text_at], "text"), "the text")
        except StopIteration:
            return
        except csv.Error as bad:
            error = f"invalid CSV: {bad}"
        except ValueError as bad:
            error = str(bad)
        yield Row(index, line, lines.end, lines.digest, own_id, error), text
        index += 1


def find_column(names: Sequence[str], name: str) -> int:
    """Where a column stands.

    Raises:
        InvalidRequestError: there is none of this name, or more than one.
    """
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise InvalidRequestError(f"the input has several columns {name!r}: rename all but one")
    listed = ", ".join(repr(each) for each in names) or "no columns"
    raise InvalidRequestError(
        f"the input has no column {name!r}, it has {listed}: name it with --text-column or "
        "--id-column"
    )


def _decoded(lines: Lines) -> Iterator[str]:
    """Bytes that are no UTF-8 become lone surrogates, found where they are part of a text."""
    for line in lines:
        yield line.decode("utf-8", "surrogateescape")


def _sound(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} of the {what} is not UTF-8") from None
    return text


def _count(found: int, expected: int) -> str:
    return f"the row has {found} fields, the header {expected}: is a text with commas not quoted?"
