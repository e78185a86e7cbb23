"""`qwire info`: what runs at a target."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qwire.cli.target import add_target, open_client
from qwire.cli.watch import watch

if TYPE_CHECKING:
    from collections.abc import Iterator


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "info",
        help="show what runs at a target",
        description="Show what runs at a target. QWIRE_API_KEY is honoured.",
        epilog="example: qwire info --target localhost:50051 --watch",
    )
    add_target(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    verb.add_argument("--timeout", type=float, default=5.0, help="seconds (default: 5)")
    verb.add_argument(
        "--watch",
        type=_interval,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="show queue, clients and rates every so many seconds (default: 2) until Ctrl-C",
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the target's description and health."""
    with open_client(options, timeout=options.timeout) as client:
        if options.watch is not None:
            return watch(client, options.watch, as_json=options.json)
        found: dict[str, Any] = asdict(client.describe())
        found["healthy"] = client.healthy(timeout=options.timeout)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print(table(found))
    return 0


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("between 0.05 and 3600 seconds")
    return seconds


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
        elif value is None:
            yield prefix + name, "none"
        elif isinstance(value, bool):
            yield prefix + name, "yes" if value else "no"
        else:
            yield prefix + name, repr(value) if "\n" in str(value) else str(value)
