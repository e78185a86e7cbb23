"""The argument that every verb has which calls a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_target(verb: argparse.ArgumentParser) -> None:
    """Declare `--target`."""
    verb.add_argument("--target", help="address; default: QWIRE_TARGET, then localhost:50051")
