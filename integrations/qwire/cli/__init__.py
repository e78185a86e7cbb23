"""The `qwire` command. Each verb is a module: `add_to` declares its arguments, `run` does it.

Verbs return the exit status: 0, 1 for a failed call or an error of the system, 2 for wrong usage,
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire.cli import embed, info, key, rerank, verify
from qwire.cli.embed_run import os_reason
from qwire.corpus.extras import needing
from qwire.errors import InvalidRequestError, QwireError

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERBS = (embed, rerank, info, verify, key)
_SERVE_HELP = "run a server; `qwire serve --help` lists its settings"
_DEPLOY_HELP = "run servers in a Ray cluster; `qwire deploy --help` lists the settings"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; what a call fails with is one line on stderr."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["serve"]:
        return serve(args[1:])
    if args[:1] == ["deploy"]:
        return deploy(args[1:])
    parser = _parser()
    options = parser.parse_args(args)
    if options.verb is None:
        parser.print_help()
        return 2
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        status = int(options.run(options))
        _flush_output()
    except KeyboardInterrupt:
        print(f"qwire {options.verb}: interrupted", file=sys.stderr)
        return 130
    except QwireError as error:
        print(f"qwire {options.verb}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidRequestError) else 1
    except OSError as error:
        with contextlib.suppress(OSError):
            _flush_output()
        print(f"qwire {options.verb}: {os_reason(error)}", file=sys.stderr)
        return 1
    return status


def _flush_output() -> None:
    """Write what was printed, here and not when Python ends, where nobody handles an error.

    Raises:
        OSError: it cannot be written; it is dropped.
    """
    try:
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def serve(args: list[str]) -> int:
    """Hand everything to the server's own command line."""
    return _hand_over("qwire_server.main", args, "serve", "server")


def deploy(args: list[str]) -> int:
    """Hand everything to the server's own command line for clusters."""
    return _hand_over("qwire_server.cluster.main", args, "deploy", "ray")


def _hand_over(module: str, args: list[str], verb: str, extra: str) -> int:
    try:
        with needing(f"qwire {verb}", extra):
            return int(import_module(module).main(args))
    except InvalidRequestError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qwire",
        description="Qwen3 embeddings over gRPC.",
        epilog="example: qwire serve --model demo",
    )
    parser.add_argument("--version", action="version", version=f"qwire {__version__}")
    verbs = parser.add_subparsers(dest="verb", title="verbs", metavar="VERB")
    verbs.add_parser("serve", help=_SERVE_HELP, add_help=False)
    verbs.add_parser("deploy", help=_DEPLOY_HELP, add_help=False)
    for verb in _VERBS:
        verb.add_to(verbs)
    return parser
