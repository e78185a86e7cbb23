"""How many files and sockets this process may have open."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # there is no such limit
    resource = None  # type: ignore[assignment]  # a module, where there is one

_LOG = logging.getLogger("qwire.server")
_OTHERS = 256  # weights, threads' pipes, the engine's own, outgoing connections


def make_room(connections: int) -> None:
    """Raise the soft limit of open files, if need be, so that so many connections fit.

    The usual soft limit is 1024, from the days of `select`; where the hard limit is lower than what
    is needed, a warning says so.
    """
    if resource is None:
        return
    needed = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    if raised < needed:
        _LOG.warning(
            "this process may have %d open files, %d are needed for --max-connections: raise the "
            "limit (ulimit -n, LimitNOFILE), or lower the setting",
            raised,
            needed,
        )
