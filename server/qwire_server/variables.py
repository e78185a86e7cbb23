"""Which variables of the environment are ours, and what an unknown one was meant to be."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "QWIRE_"
_CLIENTS_OWN = {"QWIRE_TARGET", "QWIRE_API_KEY"}
# Kubernetes gives every container variables for each Service of its namespace; for one named qwire
# or qwire-grpc they begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/
_KUBERNETES_NAME = re.compile(
    r"QWIRE_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP).*)$"
)
_KUBERNETES_VALUE = re.compile(r"(tcp|udp)://")


def refuse_unknown(environment: Mapping[str, str], settings: set[str]) -> None:
    """Check that each variable that looks like ours is one.

    Args:
        environment: of the process.
        settings: names of all settings.

    Raises:
        StartError: one is not.
    """
    known = {PREFIX + name.upper() for name in settings} | _CLIENTS_OWN
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in known and not is_kubernetes(name, value):
            raise StartError(f"{name} is not a setting{nearest(name, known)}")


def is_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes set it for a Service that is called as we are."""
    return bool(_KUBERNETES_NAME.match(name) or _KUBERNETES_VALUE.match(value))


def nearest(name: str, known: set[str]) -> str:
    """The end of a sentence: what a wrong name was likely meant to be."""
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else "; `qwire serve --help` lists them"
