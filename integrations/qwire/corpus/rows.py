"""A text of an input, and where it stands there. Knows no files."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("txt", "jsonl", "csv", "tsv", "parquet")


@dataclass(frozen=True)
class Form:
    """How a file holds its texts.

    Attributes:
        format: one of `FORMATS`.
        text_column: of a JSON object or a table: the text.
        id_column: the id that goes with it; None where it has none.
    """

    format: str
    text_column: str = "text"
    id_column: str | None = None


@dataclass(frozen=True)
class Start:
    """A place between two rows, from which a file can be read.

    Attributes:
        index: of the row that comes next.
        line: lines before it.
        end: bytes before it; of Parquet, rows.
    """

    index: int = 0
    line: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One text's place.

    Attributes:
        index: among the texts, from 0: its position in the output.
        line: of the input, from 1; where a record has several, its first.
        end: bytes of the input up to the end of the row; of Parquet, rows.
        digest: SHA-256 of the input from where it was read up to there, to know it again by.
        id: the caller's own, None without one.
        error: why the row holds no text.
    """

    index: int
    line: int
    end: int
    digest: bytes
    id: str | int | None = None
    error: str | None = None


def check_text(text: object, what: str) -> str:
    """The text, if it is one; a blank one is, as for `Client.embed`.

    Raises:
        ValueError: it is none; the message is that of the row's error.
    """
    if text is None:
        raise ValueError(f"{what} is null")
    if not isinstance(text, str):
        raise ValueError(f"{what} is not a string")  # noqa: TRY004  it becomes a row's error
    return text
