"""Environment variables that begin like ours: settings, or somebody else's. Knows no setting."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "QWIRE_"
_CLIENT = {"QWIRE_TARGET", "QWIRE_API_KEY"}
# Kubernetes gives every container variables for each Service of its namespace; for one named qwire
# or qwire-grpc they begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/
_KUBERNETES_NAME = re.compile(
    r"QWIRE_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP).*)$"
)
_KUBERNETES_VALUE = re.compile(r"(tcp|udp)://")


def refuse_unknown(environment: Mapping[str, str], settings: Iterable[str]) -> None:
    """Refuse what is misspelt.

    Raises:
        StartError: a variable has our prefix, and is neither a setting nor known to be another's.
    """
    known = {PREFIX + name.upper() for name in settings} | _CLIENT
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in known and not is_kubernetes(name, value):
            raise StartError(f"{name} is not a setting{nearest(name, known)}")


def is_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes set this one."""
    return bool(_KUBERNETES_NAME.match(name) or _KUBERNETES_VALUE.match(value))


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what may have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else "; `qwire serve --help` lists them"
