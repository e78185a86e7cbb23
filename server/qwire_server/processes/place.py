"""What every process of a server does first, and where they find each other."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from qwire_server import logs
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
DESK = "desk.sock"  # in the folder of the server's sockets
_LONGEST = 60  # of a folder's path: a socket's may have about a hundred characters


def make_folder() -> Path:
    """A folder that nobody else can enter.

    Raises:
        StartError: the system's folder for temporary files has too long a name.
    """
    folder = tempfile.mkdtemp(prefix="qwire-")
    if len(folder) > _LONGEST:
        Path(folder).rmdir()
        raise StartError(f"{folder} is too long a name for sockets: set TMPDIR to a shorter one")
    return Path(folder)


def end_without(desk: asyncio.Task[None]) -> None:
    """End this process at once if the supervisor is gone: nobody would start or stop it again."""
    if not desk.cancelled():
        os._exit(1)


def run(name: str, settings: Settings, work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Be one process of a server, with its own log and no part in what a terminal sends to all.

    Raises:
        SystemExit: always; with status 2 and a line in the log if it cannot start.
    """
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(settings.log_format, settings.log_level, name)
    try:
        sys.exit(asyncio.run(work()))
    except StartError as error:
        _LOG.error("%s", error)
        sys.exit(2)
