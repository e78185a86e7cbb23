"""How long a stream may be quiet, unread, and old: plain data, chosen by the settings.

gRPC ends a connection in two steps. At its age it takes no new calls; open ones may go on for the
grace, and are cut then. Nobody tells a server how old a stream's connection is, but whenever a
stream began, it has the whole grace before it: so it is told to reconnect shortly before it is as
old as the grace.
"""

from __future__ import annotations

from dataclasses import dataclass

ALIVE_SECONDS = 10.0  # the contract
# gRPC lengthens or shortens each age by up to a tenth, so that not all connections end together:
# 1.1 * 0.25 + 0.7 is less than the whole.
_AGE = 0.25
_GRACE = 0.7
_MOST_NOTICE_SECONDS = 60.0  # to finish what is in flight, between the notice and the cut


@dataclass(frozen=True, slots=True)
class StreamRules:
    """Of every stream; times in seconds.

    Attributes:
        alive_seconds: how often a quiet stream with work in flight is told ALIVE.
        stalled_seconds: how long a reply may lie unread.
        reconnect_seconds: the age at which a stream is told to reconnect.
    """

    alive_seconds: float = ALIVE_SECONDS
    stalled_seconds: float = 60.0
    reconnect_seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Of a connection; times in seconds.

    Attributes:
        age: after which it takes no new calls.
        grace: that calls have from then on.
        notice: age of a stream at which it is told to reconnect, in time before it is cut.
    """

    age: float
    grace: float
    notice: float


def lifetime(oldest: float) -> Lifetime:
    """How a connection ends that never gets older than `oldest` seconds."""
    grace = _GRACE * oldest
    return Lifetime(_AGE * oldest, grace, grace - min(_MOST_NOTICE_SECONDS, grace / 4))
