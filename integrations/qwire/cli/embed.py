"""`qwire embed`: texts of a file in, vectors in a file out, in constant memory.

The result grows in OUTPUT.partial and gets its name when it is complete. That file is valid at any
moment, so what an interrupt, a full disk or a lost server leaves can be used. Exit status: 0, 1 if
a text or the run failed, 2 for wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from qwire.cli.embed_run import Run
from qwire.cli.meter import Meter
from qwire.cli.places import find_places
from qwire.cli.resume import Point, find_point
from qwire.cli.target import add_target, open_client
from qwire.cli.texts_in import Form, read_texts
from qwire.cli.vectors_out import ErrorFile, JsonlFile, NpyFile
from qwire.cli.whole_file import StandardOutput, WholeFile
from qwire.errors import InvalidRequestError
from qwire.options import embed_options

if TYPE_CHECKING:
    from qwire.cli.places import Places
    from qwire.cli.vectors_out import Output

# What decides how a text becomes a vector: words of `Client.embed_stream`.
_EMBED_OPTIONS = ("input_type", "instruction", "dimensions", "truncate", "encoding")
_EPILOG = """examples:
  qwire embed texts.txt -o vectors.npy
  qwire embed rows.jsonl --field body --id-field key -o vectors.jsonl
  zcat texts.gz | qwire embed - --format txt -o vectors.npy

A .npy holds a row for each text in the order of the input, NaN where a text failed. A .jsonl holds
an object for each: index, id, vector, tokens, truncated; or error. Until all is done the result is
called OUTPUT.partial. Exit status: 0; 1 if a text or the run failed; 2 for wrong usage; 130 after
Ctrl-C."""


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "embed",
        help="embed the texts of a file",
        description="Embed the texts of a file, in constant memory. QWIRE_API_KEY is honoured.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("input", metavar="INPUT", help=".txt: a text a line; .jsonl; or - for stdin")
    verb.add_argument(
        "-o", "--output", required=True, help=".npy, .jsonl, or - for JSON lines on stdout"
    )
    add_target(verb)
    _add_input_options(verb)
    _add_embed_options(verb)
    verb.add_argument("--errors", metavar="PATH", help="default: OUTPUT.errors.jsonl, if any")
    again = verb.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    again.add_argument(
        "--resume",
        action="store_true",
        help="go on with OUTPUT.partial if it is there; model, options and input must be the same",
    )
    verb.add_argument("--quiet", action="store_true", help="say only what fails")
    verb.set_defaults(run=run)


def _add_input_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--format", choices=["txt", "jsonl"], help="default: by the input's name")
    verb.add_argument("--field", default="text", help="of a JSON object: the text (default: text)")
    verb.add_argument("--id-field", help="of a JSON object: its id, a string or a whole number")


def _add_embed_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--input-type",
        choices=["document", "query", "none"],
        default="document",
        help="which prompt goes before each text (default: document)",
    )
    verb.add_argument("--instruction", help="replaces the task in the model's template")
    verb.add_argument("--dimensions", type=int, help="keep the first so many values")
    verb.add_argument(
        "--truncate",
        choices=["end", "start", "none"],
        default="end",
        help="which end of a text that is too long is cut; none refuses it (default: end)",
    )
    verb.add_argument(
        "--encoding",
        choices=["float32", "float16"],
        default="float32",
        help="of values on the wire and in a .npy (default: float32)",
    )
    verb.add_argument(
        "--request-class",
        choices=["bulk", "interactive"],
        default="bulk",
        help="bulk yields to questions (default: bulk)",
    )


def run(options: argparse.Namespace) -> int:
    """Embed, say how it went, return the exit status."""
    form, places = _form(options), find_places(options.output, options.errors)
    _check_output(options, places)
    with _open(options.input) as file, open_client(options) as client:
        model = client.describe()
        words = {name: getattr(options, name) for name in _EMBED_OPTIONS}
        settings = {"fingerprint": model.fingerprint, **asdict(form), **words}
        point = _begin(options, places, settings)
        stream = client.embed_stream(
            point.skip(read_texts(file, form)),
            expected_fingerprint=model.fingerprint,
            request_class=options.request_class,
            ordered=True,
            **words,
        )
        dim = options.dimensions or model.dimensions.native
        errors = ErrorFile(places.errors, point.errors, point.error_bytes)
        meter = Meter(_size(file), start=point.read, quiet=options.quiet)
        output = partial(_output, places, dim, options.encoding, point)
        run = Run(places, output, errors, meter, point)
        stop = run.pour(stream)
    return run.report(stop, quiet=options.quiet)


def _begin(options: argparse.Namespace, places: Places, settings: dict[str, Any]) -> Point:
    """Where to begin; what is in the way is gone then."""
    # The client refuses what is wrong in itself here, before anything is taken away.
    embed_options(**{name: settings[name] for name in _EMBED_OPTIONS})
    if options.resume and places.can_resume:
        point = find_point(places.state, settings)
        places.check(point)
        return point
    places.clear(overwrite=options.overwrite)
    return Point(settings)


def _form(options: argparse.Namespace) -> Form:
    kind = options.format or Path(options.input).suffix.lower().removeprefix(".")
    if kind not in {"txt", "jsonl"}:
        raise InvalidRequestError(
            f"{options.input} is neither .txt nor .jsonl by its name: say --format txt or jsonl"
        )
    return Form(kind == "jsonl", options.field, options.id_field)


def _check_output(options: argparse.Namespace, places: Places) -> None:
    output = places.output
    if output is None:
        if options.resume:
            raise InvalidRequestError("--resume needs a file as output")
        return
    if output.suffix.lower() not in {".npy", ".jsonl"}:
        raise InvalidRequestError(f"the output must be .npy, .jsonl or -, not {output}")
    if options.input != "-" and output.exists() and output.samefile(options.input):
        raise InvalidRequestError(f"{output} is the input: give the output another name")


def _open(name: str) -> BinaryIO:
    try:
        return sys.stdin.buffer if name == "-" else Path(name).open("rb")
    except OSError as error:
        raise InvalidRequestError(f"the input cannot be read: {error}") from None


def _size(file: BinaryIO) -> int | None:
    """Bytes of a regular file; None of a pipe."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _output(places: Places, dim: int, encoding: str, point: Point) -> Output:
    if places.output is None:
        return JsonlFile(StandardOutput())
    try:
        if places.output.suffix.lower() == ".npy":
            return NpyFile(places.partial, dim, encoding, point.output_bytes)
        return JsonlFile(WholeFile(places.partial, point.output_bytes))
    except OSError as error:
        raise InvalidRequestError(f"the output cannot be written: {error}") from None
