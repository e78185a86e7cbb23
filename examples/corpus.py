"""The articles, labelled questions and tickets under `data/`. Knows nothing about embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Article:
    """One passage; `lang` is en or zh."""

    id: str
    lang: str
    title: str
    text: str

    @property
    def passage(self) -> str:
        """What is embedded, by every example alike."""
        return f"{self.title}\n\n{self.text}"


@dataclass(frozen=True)
class Question:
    """One question, and the ids of the articles that answer it."""

    id: str
    lang: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Ticket:
    """One line to a help desk; those with equal `same` report the same thing."""

    id: str
    topic: str
    same: str | None
    text: str


def load_articles(lang: str | None = None) -> list[Article]:
    """All articles, in the file's order, or those in one language."""
    articles = [Article(**line) for line in _lines("articles.jsonl")]
    return [article for article in articles if lang in {None, article.lang}]


def load_questions(lang: str | None = None) -> list[Question]:
    """All questions, in the file's order, or those asked and answered in one language."""
    lines = _lines("questions.jsonl")
    questions = [Question(**{**line, "answers": tuple(line["answers"])}) for line in lines]
    there = {article.id for article in load_articles(lang)}
    return [
        asked
        for asked in questions
        if lang in {None, asked.lang} and there.issuperset(asked.answers)
    ]


def load_tickets() -> list[Ticket]:
    """All tickets, in the file's order: English."""
    return [Ticket(**line) for line in _lines("tickets.jsonl")]


def _lines(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    # Not splitlines: it also cuts at characters that JSON allows inside a string.
    return [json.loads(line) for line in text.split("\n") if line.strip()]
