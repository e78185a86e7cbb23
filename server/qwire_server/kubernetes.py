"""Tells variables that Kubernetes makes from settings.

Every container gets some for each Service of its namespace; for one named qwire or qwire-grpc they
begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/
"""

from __future__ import annotations

import re

_NAME = re.compile(r"QWIRE_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP).*)$")
_VALUE = re.compile(r"(tcp|udp)://")


def is_kubernetes(name: str, value: str) -> bool:
    """Whether it is such a variable."""
    return bool(_NAME.match(name) or _VALUE.match(value))
