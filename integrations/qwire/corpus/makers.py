"""What makes parts, and what it makes them with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qwire.corpus.manifest import refuse_changes
from qwire.corpus.parts import make_parts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from qwire.corpus.manifest import Done
    from qwire.corpus.parts import Job, Tick
    from qwire.corpus.plan import Part
    from qwire.info import Description
    from qwire.results import StreamItem


class Engine(Protocol):
    """A model; a `qwire.Client` is one."""

    def describe(self) -> Description:
        """The model."""

    def embed_stream(
        self,
        texts: Iterable[tuple[Any, str]],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        truncate: str = "end",
        encoding: str = "float32",
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        ordered: bool | None = None,
    ) -> Generator[StreamItem, None, None]:
        """An item for each pair of an id and a text; the words are those of a client."""


class Maker(Protocol):
    """Makes parts with one engine, or with many."""

    def check(self, job: Job) -> None:
        """See that the model is that of the job; errors are those of `make`."""

    def make(self, job: Job, parts: Sequence[Part], tick: Tick) -> Iterator[Done]:
        """Each part as it gets its name, in any order; errors are those of `make_parts`."""


class StreamMaker:
    """Makes parts with one engine, in their order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._model = engine.describe()

    def check(self, job: Job) -> None:
        """See that the engine's model is that of the job.

        Raises:
            InvalidRequestError: it is not.
        """
        if job.fingerprint:
            refuse_changes(
                {"fingerprint": job.fingerprint}, {"fingerprint": self._model.fingerprint}
            )

    def make(
        self, job: Job, parts: Sequence[Part], tick: Tick = lambda _texts, _tokens: None
    ) -> Iterator[Done]:
        """Each part as it gets its name.

        Raises:
            InvalidRequestError: the engine's model is not that of the job.
        """
        self.check(job)
        embed = partial(
            self._engine.embed_stream,
            expected_fingerprint=self._model.fingerprint,
            request_class="bulk",
            ordered=True,
            **job.words,
        )
        yield from make_parts(job, parts, job.layout(self._model), embed, tick)
