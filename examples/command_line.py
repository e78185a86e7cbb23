"""The command line of `rag_chain.py` and `query_engine.py`: any class by its name.

Knows neither LangChain nor LlamaIndex nor Qwire: a class is `package.module:Class`, its arguments
are `--target` and `--set key=value`.
"""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any


def parse(description: str | None, *, embeddings: str, llm_help: str) -> argparse.Namespace:
    """Read the command line; `embeddings` is the class that is used unless another is named."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("question")
    parser.add_argument(
        "--embeddings", default=embeddings, metavar="MODULE:CLASS", help="default: %(default)s"
    )
    parser.add_argument("--target", help="where the Qwire server is, such as localhost:50051")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="an argument of the class; JSON where it reads as such, else text; can be repeated",
    )
    parser.add_argument("--llm", help=llm_help)
    return parser.parse_args()


def make_embeddings(arguments: argparse.Namespace) -> Any:
    """The embedding object that the command line describes."""
    settings = dict(arguments.set)
    if arguments.target:
        settings["target"] = arguments.target
    return load_class(arguments.embeddings)(**settings)


def load_class(path: str) -> Any:
    """Import `package.module:Class`."""
    module, colon, name = path.partition(":")
    if not colon:
        raise SystemExit(f"{path!r}: write it as package.module:Class")
    return getattr(importlib.import_module(module), name)


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{pair!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
