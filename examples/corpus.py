"""The articles and labelled questions under `data/`. Knows nothing about embeddings."""

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


def load_articles() -> list[Article]:
    """All articles, in the file's order."""
    return [Article(**line) for line in _lines("articles.jsonl")]


def load_questions() -> list[Question]:
    """All questions, in the file's order."""
    lines = _lines("questions.jsonl")
    return [Question(**{**line, "answers": tuple(line["answers"])}) for line in lines]


def _lines(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    # Not splitlines: it also cuts at characters that JSON allows inside a string.
    return [json.loads(line) for line in text.split("\n") if line.strip()]
