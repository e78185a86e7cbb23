"""`qwire deploy`: settings, logs, exit status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import ray  # noqa: F401  where the extra `ray` is not installed, importing this module must fail

from qwire_server import logs, settings
from qwire_server.errors import StartError
from qwire_server.settings.deploy import DeploySettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy the server to a Ray cluster.

    Returns:
        0 once it is deployed, or after a clean stop of a cluster of our own; 2 if it cannot be.
    """
    try:
        chosen = settings.load_as(DeploySettings, sys.argv[1:] if argv is None else argv, "deploy")
        logs.configure(chosen.log_format, chosen.log_level)
        from qwire_server.cluster.deploy import deploy  # noqa: PLC0415

        deploy(chosen)
    except StartError as error:
        print(f"qwire deploy: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
