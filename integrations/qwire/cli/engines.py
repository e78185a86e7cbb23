"""What embeds: a server, a model in this process, or a cluster. Each is imported when it is used."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qwire.client import Client
from qwire.corpus.extras import need
from qwire.corpus.parts import make_parts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from qwire.corpus.manifest import Done
    from qwire.corpus.parts import Job, Tick
    from qwire.corpus.plan import Part
    from qwire.info import Description
    from qwire.results import StreamItem

ENGINES = ("server", "local", "ray")


class Engine(Protocol):
    """What a `Client` can do, too."""

    def describe(self) -> Description:
        """The model."""

    def embed_stream(
        self, texts: Iterable[tuple[Any, str]], **words: Any
    ) -> Generator[StreamItem, None, None]:
        """An item for each text."""


class Maker(Protocol):
    """Makes parts; `fingerprint` is that of its model, empty where it is not yet known."""

    @property
    def fingerprint(self) -> str:
        """Of the model."""

    def make(self, job: Job, parts: Sequence[Part], tick: Tick) -> Iterator[Done]:
        """Each part as it gets its name, in any order."""


class StreamMaker:
    """Makes parts with an engine, one after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._model = engine.describe()

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        return self._model.fingerprint

    def make(self, job: Job, parts: Sequence[Part], tick: Tick) -> Iterator[Done]:
        """Each part as it gets its name, in their order."""
        embed = partial(
            self._engine.embed_stream,
            expected_fingerprint=self.fingerprint,
            request_class="bulk",
            ordered=True,
            **job.words,
        )
        return make_parts(job, parts, job.layout(self._model), embed, tick)


@contextmanager
def open_engine(options: argparse.Namespace) -> Iterator[Engine]:
    """The engine that gives vectors in the order of the texts.

    Raises:
        InvalidRequestError: a package is missing, or the model cannot be loaded.
        QwireError: no server answers.
    """
    if options.engine == "local":
        local = need("qwire_server.corpus.local", "--engine local", "server")
        with local.LocalEngine(local.read_settings(options.model)) as engine:
            yield engine
    else:
        with Client(options.target, model=options.model) as client:
            yield client


@contextmanager
def open_maker(options: argparse.Namespace) -> Iterator[Maker]:
    """What makes parts; errors as `open_engine`."""
    if options.engine != "ray":
        with open_engine(options) as engine:
            yield StreamMaker(engine)
        return
    need("ray.data", "--engine ray", "ray")
    cluster = need("qwire_server.corpus.cluster", "--engine ray", "ray")
    with cluster.Cluster(options.model, options.actors) as maker:
        yield maker
