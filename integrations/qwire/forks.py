"""What a client has to do before its process forks. Knows nothing about calls."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Holds channels of grpc.aio."""

    def drop_closed_loops(self) -> None:
        """Let go of the channels whose event loops have closed."""
        ...


# Of the process, because a fork is; what is collected leaves by itself.
_FORGETFUL: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_before_fork(client: Forgetful) -> None:
    """From now on, have it drop what it need not keep whenever the process forks.

    With its last channel ends the thread that polls for grpc.aio. While that thread runs, gRPC
    skips its preparations for a fork, and the child crashes or hangs (4 of 4 after `asyncio.run`).
    """
    _FORGETFUL.add(client)


def _forget() -> None:
    for client in list(_FORGETFUL):
        client.drop_closed_loops()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_forget)
