"""`qwire serve`: settings, logs, event loop, exit status."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop.

    Returns:
        0 after a clean stop, 1 after a failure while serving, 2 if it could not start.
    """
    from qwire_server import logs, settings  # noqa: PLC0415
    from qwire_server.errors import StartError  # noqa: PLC0415

    try:
        chosen = settings.load(sys.argv[1:] if argv is None else argv)
        logs.configure(chosen.log_format, chosen.log_level)
        from qwire_server.serve import serve  # noqa: PLC0415

        return asyncio.run(serve(chosen))
    except StartError as error:
        print(f"qwire serve: {error}", file=sys.stderr)  # noqa: T201
        return 2
