"""Several slow servers: `python -m support.slow_fleet COUNT SECONDS [NAME=VALUE ...]`.

Imports once and forks, because importing torch is most of a server's start. Each server prints its
port and its process id; see `slow_server` for the rest. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from support import slow_server


def main() -> None:
    children = [_child() for _ in range(int(sys.argv[1]))]
    sys.stdin.read()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _child() -> int:
    pid = os.fork()
    if not pid:
        seconds, *settings = sys.argv[2:]
        asyncio.run(slow_server.main(float(seconds), settings))
        os._exit(0)
    return pid


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    main()
