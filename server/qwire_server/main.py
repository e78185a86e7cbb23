"""`qwire serve`: settings, logs, event loop, exit status."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from qwire.corpus.extras import needing
from qwire.errors import InvalidRequestError
from qwire_server.errors import StartError
from qwire_server.packages import check_packages

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop.

    Returns:
        0 after a clean stop, 1 after a failure while serving, 2 if it could not start.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server is there, which reloads
    try:
        check_packages()
        with needing("the server", "server"):  # packages of those packages
            return _run(sys.argv[1:] if argv is None else argv)
    except (StartError, InvalidRequestError) as error:
        print(f"qwire serve: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _run(argv: Sequence[str]) -> int:
    # Imported here, because all of it needs the packages of the extra `server`.
    from qwire_server import logs, settings  # noqa: PLC0415

    chosen = settings.load(argv)
    logs.configure(chosen.log_format, chosen.log_level)
    # gRPC and the event loop are not needed to say what is wrong with a flag.
    if chosen.has_processes:
        from qwire_server.processes.supervisor import serve_in_processes  # noqa: PLC0415

        return asyncio.run(serve_in_processes(chosen))
    from qwire_server.process import serve  # noqa: PLC0415

    return asyncio.run(serve(chosen))
