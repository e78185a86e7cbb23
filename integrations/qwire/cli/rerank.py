"""`qwire rerank`: the lines of a file, best answers to a query first."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from qwire.cli.target import add_target, open_client
from qwire.corpus.lines import Lines, read_lines
from qwire.corpus.rows import Form
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from qwire.corpus.rows import Row

_EPILOG = """examples:
  qwire rerank "When do I get my money back?" documents.txt --top-n 3
  grep -i refund notes.txt | qwire rerank "When do I get my money back?" --json

A line of output is a score and a document, or with --json an object: index, score, document. The
index counts from 0. A blank line of a .txt is an empty document, as it is for Client.rerank. The
documents are held in memory."""


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "rerank",
        help="put the lines of a file in the order in which they answer a query",
        description="Put documents in the order in which they answer a query, best first. "
        "QWIRE_API_KEY is honoured.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("query", metavar="QUERY")
    verb.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help=".txt, .jsonl, or - for stdin (default)",
    )
    add_target(verb)
    verb.add_argument("--format", choices=["txt", "jsonl"], help="default: by the file's name")
    verb.add_argument("--field", default="text", help="of a JSON object: the text (default: text)")
    verb.add_argument("--top-n", type=int, metavar="N", help="print the best so many")
    verb.add_argument("--instruction", help="what makes a document the right one")
    verb.add_argument("--raw-scores", action="store_true", help="log-odds, not probabilities")
    verb.add_argument("--truncate", default="end", help="end, start or none (default: end)")
    verb.add_argument("--model", help="the reranker that must be served")
    verb.add_argument(
        "--timeout", type=float, default=60.0, help="seconds without progress (default: 60)"
    )
    verb.add_argument("--json", action="store_true", help="print JSON lines")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the ranking.

    Raises:
        InvalidRequestError: the file cannot be read, or a line of it holds no text.
    """
    rows = _read(options)
    with open_client(options, timeout=options.timeout) as client:
        ranking = client.rerank(
            options.query,
            [text for _, text in rows],
            instruction=options.instruction,
            top_n=options.top_n,
            raw_scores=options.raw_scores,
            truncate=options.truncate,
            model=options.model,
        )
    for result in ranking:
        row, text = rows[result.index]
        if options.json:
            found = {"index": row.index, "score": result.score, "document": text}
            print(json.dumps(found, ensure_ascii=False))
        else:
            print(f"{result.score:.4f}\t{' '.join(text.splitlines())}")
    return 0


def _read(options: argparse.Namespace) -> list[tuple[Row, str]]:
    kind = options.format or ("jsonl" if options.file.endswith(".jsonl") else "txt")
    form = Form(kind, options.field)
    documents = []
    with _open(options.file) as file:
        for row, text in read_lines(Lines(file), form):
            if row.error is not None:
                raise InvalidRequestError(f"line {row.line} of {options.file}: {row.error}")
            documents.append((row, text))
    return documents


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        if sys.stdin is None:
            raise InvalidRequestError("standard input is closed")
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InvalidRequestError(f"{name} cannot be read: {error.strerror}") from error
