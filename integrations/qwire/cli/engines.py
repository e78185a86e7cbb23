"""What embeds: a server, a model in this process, or a cluster; imported when it is used."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from qwire.cli.target import open_client
from qwire.corpus.extras import needing
from qwire.corpus.makers import StreamMaker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from qwire.corpus.makers import Engine, Maker

ENGINES = ("server", "local", "ray")


@contextmanager
def open_engine(options: argparse.Namespace) -> Iterator[Engine]:
    """The engine that gives vectors in the order of the texts.

    Raises:
        InvalidRequestError: a package is missing, or the model cannot be loaded.
        QwireError: no server answers.
    """
    if options.engine == "server":
        with open_client(options, model=options.model) as client:
            yield client
        return
    with needing("--engine local", "server"):
        local = import_module("qwire_server.corpus.local")
        with local.LocalEngine(local.read_settings(options.model)) as engine:
            yield engine


@contextmanager
def open_maker(options: argparse.Namespace) -> Iterator[Maker]:
    """What makes parts; errors as `open_engine`."""
    if options.engine != "ray":
        with open_engine(options) as engine:
            yield StreamMaker(engine)
        return
    with needing("--engine ray", "ray"):
        cluster = import_module("qwire_server.corpus.cluster")
        with cluster.Cluster(cluster.read_settings(options.model), options.actors) as maker:
            yield maker
