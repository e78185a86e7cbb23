"""How many files and sockets this process may have open."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # there is no such limit
    resource = None  # type: ignore[assignment]  # a module, where there is one

_LOG = logging.getLogger("qwire.server")
_OTHERS = 256  # weights, threads' pipes, the engine's own, outgoing connections
_LEAST_OTHERS = 48  # of them where there are few; a server that is idle has about 35


def make_room(connections: int, ports: int) -> int:
    """Raise the soft limit of open files, if need be, so that all connections fit.

    The usual soft limit is 1024, from the days of `select`.

    Args:
        connections: most of each port, as the settings say.
        ports: number of open ports.

    Returns:
        The most connections of each port; fewer than were asked for where the hard limit is lower
        than what they need, and a warning says so.
    """
    if resource is None:
        return connections
    needed = connections * ports + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    if raised >= needed:
        return connections
    most = max(1, min(connections, fitting(raised, ports)))
    _LOG.warning(
        "this process may have %d open files, and --max-connections %d needs %d: at most %d "
        "connections are taken on each port; raise the limit (ulimit -n, LimitNOFILE), or lower "
        "the setting",
        raised,
        connections,
        needed,
        most,
    )
    return most


def fitting(files: int, ports: int) -> int:
    """Connections of each port for which so many open files suffice."""
    others = min(_OTHERS, max(_LEAST_OTHERS, files // 2))
    return (files - others) // ports
