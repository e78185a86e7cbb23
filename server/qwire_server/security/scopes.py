"""What keys may do, and what calls need. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire.keyfile import SCOPES

if TYPE_CHECKING:
    from typing import TypeAlias

    Need: TypeAlias = frozenset[str]  # scopes of which a key has one at least

OPEN: Need = frozenset()  # no key at all
EMBED: Need = frozenset({"embed"})
RERANK: Need = frozenset({"rerank"})
METRICS: Need = frozenset({"metrics"})
TEXTS: Need = EMBED | RERANK
ANY: Need = frozenset(SCOPES)  # any key


def suffices(scopes: frozenset[str], need: Need) -> bool:
    """Whether a key with these scopes may do what needs one of those."""
    return not need or not need.isdisjoint(scopes)
