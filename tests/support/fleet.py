"""Several servers in processes of their own behind one target. Knows nothing about balancing."""

from __future__ import annotations

import contextlib
import threading

from support.fake_process import Process


class Fleet:
    """Use in `with`; arguments as of `Process`, for each.

    Attributes:
        servers: the processes; each can be killed, drained and started again.
        target: of all, a list.
    """

    def __init__(self, count: int, *program: str) -> None:
        self.servers = [Process(*program) for _ in range(count)]
        self.target = ",".join(server.target for server in self.servers)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        starts = [
            threading.Thread(target=self._stack.enter_context, args=(server,))
            for server in self.servers
        ]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()
