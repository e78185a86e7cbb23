"""What the demo prints: at most 100 columns, plain text. Knows nothing about servers."""

from __future__ import annotations

import sys
import textwrap
import time
import unicodedata
from typing import TYPE_CHECKING

from scores import measure, rank_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from corpus import Article, Question
    from scores import Ranking
    from ways import Results

WIDTH = 100
TITLE = 60  # leaves room for three columns of scores
PROGRESS_SECONDS = 10  # between two lines of a download's progress bar


def fact(name: str, text: str) -> None:
    """A name, and a text that may need several lines."""
    indent = " " * 11
    head = f"{name:10} "
    print(textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=indent))


def heading(text: str) -> None:
    """A line that stands out where that is possible."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def log_printer() -> Callable[[str], None]:
    """Prints a server's log lines, and few of the many of a progress bar."""
    shown = float("-inf")

    def show(line: str) -> None:
        nonlocal shown
        if "%|" not in line or time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            print(textwrap.fill(line, WIDTH, initial_indent="  | ", subsequent_indent="  |   "))

    return show


def question(
    asked: Question, rankings: Mapping[str, Ranking], articles: Mapping[str, Article]
) -> None:
    """The three best and, with a star, the labelled ones: place and score of each way."""
    heading(clip(f"{asked.id}  {asked.question}", WIDTH))
    print(_row("", rankings))
    first = next(iter(rankings.values()))
    best = {name for ranking in rankings.values() for name in list(ranking)[:3]}
    places = {name: rank_of(first, [name]) for name in best.union(asked.answers)}
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        star = "*" if name in asked.answers else " "
        title = f"{place:3} {star} {articles[name].title}"
        print(_row(title, [f"{ranking[name]:.4f}" for ranking in rankings.values()]))


def answers(given: Mapping[str, str]) -> None:
    """How each way's answer begins; ways that say the same share it."""
    for text in dict.fromkeys(given.values()):
        names = ", ".join(name for name, answer in given.items() if answer == text)
        print(f"  {names}:")
        paragraphs = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        for line in [line for each in paragraphs for line in wrapped(each, WIDTH - 6)][:3]:
            print(f"      {line}")


def quality(results: Sequence[Results], questions: Sequence[Question]) -> None:
    """Top-1, Top-3 and MRR of each way."""
    heading(f"Quality over {len(questions)} questions, each ranked against the whole corpus")
    print(_row("", [result.way.name for result in results]))
    labels = [asked.answers for asked in questions]
    measured = [measure(result.rankings, labels) for result in results]
    print(_row("  Top-1", [f"{quality.top1:.1%}" for quality in measured]))
    print(_row("  Top-3", [f"{quality.top3:.1%}" for quality in measured]))
    print(_row("  MRR", [f"{quality.mrr:.3f}" for quality in measured]))


def timings(results: Sequence[Results], num_articles: int, where: str) -> None:
    """How long indexing and asking took."""
    heading(f"Time on {where}; not a benchmark")
    rates = [f"{num_articles / result.way.seconds:.0f}" for result in results]
    delays = [f"{result.seconds * 1000:.1f}" for result in results]
    print(_row("  indexing, texts/s", rates))
    print(_row("  median question, embedded and ranked, ms", delays))


def clip(text: str, width: int) -> str:
    """Cut to a number of terminal cells; Chinese takes two a character."""
    return text if cells(text) <= width else _fitting(text, width - 3) + "..."


def cells(text: str) -> int:
    """Terminal cells that a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _fitting(text: str, width: int) -> str:
    end = next((i for i in range(len(text)) if cells(text[: i + 1]) > width), len(text))
    return text[:end]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many cells, cut at spaces where there are some."""
    lines: list[str] = []
    while text:
        line = _fitting(text, width)
        if len(line) < len(text) and " " in line:
            line = line[: line.rindex(" ")]
        lines.append(line)
        text = text[len(line) :].lstrip()
    return lines


def _row(label: str, columns: Sequence[str] | Mapping[str, object]) -> str:
    label = clip(label, TITLE)
    return label + " " * (TITLE - cells(label)) + "".join(f"{column:>12}" for column in columns)
