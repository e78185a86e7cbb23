"""The `qwire` command: one verb, one function. Prints; everything else is elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qwire._version import __version__
from qwire.client import Client
from qwire.errors import InvalidRequestError, QwireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SERVE_HELP = "run a server; `qwire serve --help` lists its settings"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a failed call, 2 for wrong usage."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["serve"]:
        return serve(args[1:])
    parser = _parser()
    options = parser.parse_args(args)
    if options.verb is None:
        parser.print_help()
        return 2
    return info(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qwire",
        description="Qwen3 embeddings over gRPC.",
        epilog="example: qwire serve --model demo",
    )
    parser.add_argument("--version", action="version", version=f"qwire {__version__}")
    verbs = parser.add_subparsers(dest="verb", title="verbs", metavar="VERB")
    verbs.add_parser("serve", help=_SERVE_HELP, add_help=False)
    verb = verbs.add_parser(
        "info",
        help="show what runs at a target",
        description="Show what runs at a target. QWIRE_API_KEY is honoured.",
        epilog="example: qwire info --target localhost:50051 --json",
    )
    verb.add_argument("--target", help="address; default: QWIRE_TARGET, then localhost:50051")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    verb.add_argument("--timeout", type=float, default=5.0, help="seconds (default: 5)")
    return parser


def serve(args: list[str]) -> int:
    """Hand everything to the server's own command line."""
    try:
        from qwire_server.main import main as serve_main  # noqa: PLC0415  # heavy, and optional
    except ModuleNotFoundError:
        print('pip install "qwire[server]"', file=sys.stderr)
        return 2
    return int(serve_main(args))


def info(options: argparse.Namespace) -> int:
    """Print the target's description and health."""
    try:
        client = Client(options.target, timeout=options.timeout)
    except InvalidRequestError as error:
        print(f"qwire info: {error}", file=sys.stderr)
        return 2
    with client:
        try:
            found: dict[str, Any] = asdict(client.describe())
        except QwireError as error:
            print(f"qwire info: {error}", file=sys.stderr)
            return 1
        found["healthy"] = client.healthy(timeout=options.timeout)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print(table(found))
    return 0


def table(values: dict[str, Any]) -> str:
    """Nested values as aligned lines, `name.part  value`."""
    rows = list(_flat(values))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield prefix + name, ", ".join(map(str, value))
        elif isinstance(value, bool):
            yield prefix + name, "yes" if value else "no"
        else:
            yield prefix + name, repr(value) if "\n" in str(value) else str(value)
