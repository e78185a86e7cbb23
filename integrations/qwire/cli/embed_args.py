"""The arguments of `qwire embed`."""

from __future__ import annotations

import argparse

from qwire.cli.engines import ENGINES
from qwire.cli.target import add_target
from qwire.corpus.plan import PART_ROWS
from qwire.corpus.rows import FORMATS

_EPILOG = """examples:
  qwire embed texts.txt -o vectors.npy
  qwire embed rows.csv --text-column body --id-column key -o vectors.parquet
  zcat texts.gz | qwire embed - --format txt -o vectors.npy
  qwire embed corpus.parquet -o vectors/ --engine ray --model Qwen/Qwen3-Embedding-0.6B

A .npy holds a row for each text in the order of the input, NaN where a text failed. A .jsonl, .csv
or .parquet holds index, id, tokens, truncated and error too. Each line of a .txt is a text. A blank
one is embedded as the model embeds an empty text, as by Client.embed, so that row n is line n + 1;
blank lines of .jsonl, .csv and .tsv hold no record and are no rows. Until all is done the result is
called OUTPUT.partial. A folder gets part-00000.parquet and so on, each when it is whole, and
_manifest.json; when it is complete --resume only compares the model, with a warning where no server
answers. Exit status: 0; 1 if a text or the run failed; 2 for wrong usage; 130 after Ctrl-C.

--engine local and ray load the model themselves, as `qwire serve --model` does; all other settings
of `qwire serve` are variables, such as QWIRE_DTYPE."""


def add_arguments(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Declare the verb."""
    verb = verbs.add_parser(
        "embed",
        help="embed the texts of a file",
        description="Embed the texts of a file, in constant memory. QWIRE_API_KEY is honoured.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "input",
        metavar="INPUT",
        help=f"{', '.join(f'.{name}' for name in FORMATS)}, or - for stdin",
    )
    verb.add_argument(
        "-o",
        "--output",
        required=True,
        help=".npy, .jsonl, .csv, .parquet, a folder, or - for JSON lines on stdout",
    )
    add_target(verb)
    _add_engine_options(verb)
    _add_input_options(verb)
    _add_embed_options(verb)
    verb.add_argument("--errors", metavar="PATH", help="default: OUTPUT.errors.jsonl, if any")
    again = verb.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    again.add_argument(
        "--resume",
        action="store_true",
        help="go on with what an earlier run left; model, options and input must be the same",
    )
    verb.add_argument("--quiet", action="store_true", help="say only what fails")
    return verb


def _add_engine_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--engine",
        choices=ENGINES,
        default="server",
        help="server: the one at --target (default); local: a model in this process; ray: one in "
        "each actor of a Ray cluster, RAY_ADDRESS or one on this machine",
    )
    verb.add_argument("--model", help="to be loaded; of a server, the one it must have")
    verb.add_argument(
        "--actors",
        type=_positive,
        metavar="N",
        help="of --engine ray; default: one for each GPU, or for each machine if there is none",
    )


def _add_input_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--format", choices=FORMATS, help="default: by the input's name")
    verb.add_argument(
        "--text-column",
        "--field",
        default="text",
        metavar="NAME",
        help="of a table or a JSON object: the text (default: text)",
    )
    verb.add_argument(
        "--id-column", "--id-field", metavar="NAME", help="its id, a string or a whole number"
    )
    verb.add_argument(
        "--part-rows",
        type=_positive,
        metavar="N",
        help=f"of each part of a folder or a .parquet (default: {PART_ROWS})",
    )


def _add_embed_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--input-type",
        choices=["document", "query", "none"],
        help="which prompt goes before each text (default: document)",
    )
    verb.add_argument("--instruction", help="replaces the task in the model's template")
    verb.add_argument(
        "--prompt-name",
        metavar="NAME",
        help="of one of the model's prompts, instead of --input-type and --instruction",
    )
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
        help="of values on the wire, in a .npy and a .parquet (default: float32)",
    )
    verb.add_argument(
        "--request-class",
        choices=["bulk", "interactive"],
        default="bulk",
        help="bulk yields to questions (default: bulk)",
    )


def _positive(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 1")
    return int(word)
