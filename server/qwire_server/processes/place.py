"""What every process of a server does first, and where they find each other."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from qwire_server import logs
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
DESK = "desk.sock"  # in the folder of the server's sockets
_PREFIX = "qwire-"
_LOCK = "supervisor.lock"
_LONGEST = 60  # of a folder's path: a socket's may have about a hundred characters


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder that nobody else can enter, until the block is left; those of the dead go with it.

    Raises:
        StartError: the system's folder for temporary files has too long a name.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        if len(str(folder)) > _LONGEST:
            raise StartError(
                f"{folder} is too long a name for sockets: set TMPDIR to a shorter one"
            )
        # It is locked before it has its name, so no other supervisor ever finds it unlocked.
        with (folder / f"{_LOCK}.new").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{_LOCK}.new").rename(folder / _LOCK)
            _remove_abandoned(folder.parent)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove folders whose supervisor was killed, and could not."""
    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # it is locked, of another user, or gone by now
            if path.parent.is_symlink() or path.parent.stat().st_uid != os.getuid():
                continue
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent)
                _LOG.info("removed %s, which a killed server left", path.parent)


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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # `Child.start` blocked it
    logs.configure(settings.log_format, settings.log_level, name)
    try:
        sys.exit(asyncio.run(work()))
    except StartError as error:
        _LOG.error("%s", error)
        sys.exit(2)
