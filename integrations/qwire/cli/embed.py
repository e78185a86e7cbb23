"""`qwire embed`: texts of a file in, vectors out, in constant memory.

A .npy, .jsonl or .csv grows in OUTPUT.partial and gets its name when it is complete. That file is
valid at any moment, so what an interrupt, a full disk or a lost server leaves can be used. Parquet
cannot grow: it is made in parts (`parts_run`). Exit status: 0, 1 if a text or the run failed, 2 for
wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwire.cli.csv_out import CsvFile
from qwire.cli.embed_args import add_arguments
from qwire.cli.embed_run import Run
from qwire.cli.engines import open_engine
from qwire.cli.meter import Meter
from qwire.cli.parts_run import run_parts
from qwire.cli.places import find_places
from qwire.cli.resume import Point, find_point
from qwire.cli.vectors_out import ErrorFile, JsonlFile, NpyFile
from qwire.cli.whole_file import StandardOutput, WholeFile
from qwire.corpus.rows import Form
from qwire.corpus.source import Source, find_format
from qwire.errors import InvalidRequestError
from qwire.options import embed_options

if TYPE_CHECKING:
    import argparse

    from qwire.cli.places import Places
    from qwire.cli.vectors_out import Output

# What decides how a text becomes a vector: words of `Client.embed_stream`.
_EMBED_OPTIONS = ("input_type", "instruction", "dimensions", "truncate", "encoding")
_GROWING = (".npy", ".jsonl", ".csv")


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    add_arguments(verbs).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Embed, say how it went, return the exit status."""
    words = {name: getattr(options, name) for name in _EMBED_OPTIONS}
    # Only where it is given: results of earlier versions, which have no such word, can be resumed.
    if options.prompt_name is not None:
        words["prompt_name"] = options.prompt_name
    elif options.input_type is None:
        words["input_type"] = "document"
    format_ = find_format(options.input, options.format)
    form = Form(format_, options.text_column, options.id_column)
    _check_output(options)
    # What is wrong in itself is refused here, before anything is taken away.
    embed_options(**words)
    if options.output != "-" and Path(options.output).suffix.lower() not in _GROWING:
        return run_parts(options, form, words)
    return _run_rows(options, form, words)


def _run_rows(options: argparse.Namespace, form: Form, words: dict[str, Any]) -> int:
    places = find_places(options.output, options.errors)
    with Source(options.input, form) as source, open_engine(options) as engine:
        model = engine.describe()
        settings = {"fingerprint": model.fingerprint, **asdict(form), **words}
        point = _begin(options, places, settings)
        stream = engine.embed_stream(
            point.skip(source.rows()),
            expected_fingerprint=model.fingerprint,
            request_class=options.request_class,
            ordered=True,
            **words,
        )
        dim = words["dimensions"] or model.dimensions.native
        errors = ErrorFile(places.errors, point.errors, point.error_bytes)
        meter = Meter(source.total, start=point.read, quiet=options.quiet)
        output = partial(_output, places, dim, form, words["encoding"], point)
        run = Run(places, output, errors, meter, point)
        stop = run.pour(stream)
    return run.report(stop, quiet=options.quiet)


def _begin(options: argparse.Namespace, places: Places, settings: dict[str, Any]) -> Point:
    """Where to begin; what is in the way is gone then."""
    if options.resume and places.can_resume:
        point = find_point(places.state, settings)
        places.check(point)
        return point
    places.clear(overwrite=options.overwrite)
    return Point(settings)


def _check_output(options: argparse.Namespace) -> None:
    """See that the output can be made in the way that was asked for.

    Raises:
        InvalidRequestError: it cannot.
    """
    output, suffix = Path(options.output), Path(options.output).suffix.lower()
    if options.output == "-":
        if options.resume:
            raise InvalidRequestError("--resume needs a file as output")
    elif suffix not in {*_GROWING, ".parquet", ""} and not (
        output.is_dir() or options.output.endswith("/")
    ):
        raise InvalidRequestError(
            f"the output must be .npy, .jsonl, .csv, .parquet, a folder or -, not {output}"
        )
    elif suffix in _GROWING and output.is_dir():
        raise InvalidRequestError(f"{output} is a folder: give the output another name")
    elif (
        options.input != "-"
        and Path(options.input).exists()
        and output.exists()
        and output.samefile(options.input)
    ):
        raise InvalidRequestError(f"{output} is the input: give the output another name")
    if options.engine == "ray" and (options.output == "-" or suffix in _GROWING):
        raise InvalidRequestError(
            f"--engine ray makes a folder of parts or a .parquet, not {options.output}"
        )


def _output(places: Places, dim: int, form: Form, encoding: str, point: Point) -> Output:
    if places.output is None:
        return JsonlFile(StandardOutput())
    suffix = places.output.suffix.lower()
    try:
        if suffix == ".npy":
            return NpyFile(places.partial, dim, encoding, point.output_bytes)
        file = WholeFile(places.partial, point.output_bytes)
        return (
            CsvFile(file, has_id=form.id_column is not None)
            if suffix == ".csv"
            else JsonlFile(file)
        )
    except OSError as error:
        raise InvalidRequestError(f"the output cannot be written: {error}") from None
