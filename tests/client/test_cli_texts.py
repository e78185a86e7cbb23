"""What `qwire embed` reads from a file, and what it says of its progress: no server."""

from __future__ import annotations

import io

import pytest

from qwire.cli.meter import Meter, clock, progress
from qwire.corpus import lines as lines_in
from qwire.corpus.lines import Lines, read_lines
from qwire.corpus.rows import Form
from qwire.errors import InvalidRequestError

TXT = Form("txt")
JSONL = Form("jsonl")


def read(content: bytes, form=TXT):
    return list(read_lines(Lines(io.BytesIO(content)), form))


def test_line_ends_and_a_byte_order_mark_are_no_text():
    rows = read(b"\xef\xbb\xbfone\r\ntwo\n\xef\xbb\xbfthree")
    assert [text for _, text in rows] == ["one", "two", "\ufeffthree"]


def test_only_a_line_feed_ends_a_line():
    """Unlike `str.splitlines`, which would shift every row behind a form feed."""
    assert [text for _, text in read("a\x0cb\u2028c\rd\n".encode())] == ["a\x0cb\u2028c\rd"]


def test_a_row_knows_its_place():
    """Blank lines are rows of a text file, and none of JSON lines."""
    assert [(row.index, row.line, row.end) for row, _ in read(b"a\n\nb\n")] == [
        (0, 1, 2),
        (1, 2, 3),
        (2, 3, 5),
    ]
    rows = read(b'{"text": "a"}\n\n{"text": "b"}\n\n', JSONL)
    assert [(row.index, row.line, row.end) for row, _ in rows] == [(0, 1, 14), (1, 3, 29)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "invalid JSON: Expecting property name enclosed in double quotes at character 1"),
        (b"[1]", "the line holds no JSON object"),
        (b'{"body": "a"}', "the object has no field 'text'"),
        (b'{"text": 1}', "field 'text' is not a string"),
        (b'{"text": null}', "field 'text' is null"),
        (b'{"text": "\xff"}', "byte 10 of the line is not UTF-8"),
        (b"[" * 100_000, "invalid JSON: too deeply nested"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(line, error):
    (bad, nothing), (good, text) = read(line + b'\n{"text": "good"}', JSONL)
    assert (bad.error, nothing) == (error, None)
    assert (good.error, text) == (None, "good")


@pytest.mark.parametrize("own_id", ["null", "1.5", "true", "[1]"])
def test_an_id_is_a_string_or_a_whole_number(own_id):
    ((row, _),) = read(b'{"text": "a", "n": %b}' % own_id.encode(), Form("jsonl", id_column="n"))
    assert row.error == "field 'n' is not a string or a whole number"


def test_a_line_with_a_bad_text_keeps_its_id():
    ((row, _),) = read(b'{"text": null, "n": 7}', Form("jsonl", id_column="n"))
    assert (row.id, row.error) == (7, "field 'text' is null")


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(lines_in, "_LONGEST_LINE", 10)
    rows = read(b"short\n" + b"x" * 95 + b"\nshort\n")
    assert [row.error for row, _ in rows] == [
        None,
        "the line has 96 bytes, no message could carry it",
        None,
    ]
    assert rows[-1][0].end == 6 + 96 + 6


def test_utf_16_is_refused():
    with pytest.raises(InvalidRequestError, match="convert it to UTF-8"):
        read("a\n".encode("utf-16"))


def test_progress_shows_rates_and_the_time_left():
    assert progress(1000, 16_000, 10.0, (0, 25, 100)) == (
        "1,000 texts, 100 texts/s, 1,600 tokens/s, 25 %, 0:30 left"
    )


def test_the_time_left_is_judged_by_this_run_alone():
    """An earlier one did the first 25 units."""
    assert progress(1, 16, 10.0, (25, 50, 100)).endswith(", 50 %, 0:20 left")


def test_progress_of_a_pipe_has_no_end():
    assert progress(1, 16, 10.0, None) == "1 text, 0 texts/s, 2 tokens/s"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7384, "2:03:04")]
)
def test_a_clock_has_minutes(seconds, shown):
    assert clock(seconds) == shown


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("qwire.cli.meter._PLAIN_SECONDS", 0.0)
    meter = Meter(None, quiet=False)
    meter.add(16, 1)
    meter.clear()
    assert capsys.readouterr().err.startswith("1 text, ")


def test_a_quiet_meter_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("qwire.cli.meter._PLAIN_SECONDS", 0.0)
    Meter(None, quiet=True).add(16, 1)
    assert capsys.readouterr().err == ""
