"""Makes parts of a plan, one after the other, from a stream of vectors in the order of the rows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from qwire._version import __version__
from qwire.corpus.part_file import Layout, PartFile
from qwire.corpus.source import Source, look
from qwire.errors import InvalidRequestError
from qwire.failures import name_index

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from qwire.corpus.manifest import Done
    from qwire.corpus.plan import Part
    from qwire.corpus.rows import Form, Row
    from qwire.info import Description
    from qwire.results import StreamItem

    Embed = Callable[[Iterable[tuple[Row, Any]]], Generator[StreamItem, None, None]]
    Tick = Callable[[int, int], None]  # texts, tokens


@dataclass(frozen=True)
class Job:
    """What parts are made of and where they go; plain data, for other processes too.

    Attributes:
        input: path of the file.
        seen: its size and time when it was planned.
        form: of the file.
        id_type: Arrow's, in words; None without ids.
        folder: of the parts.
        words: of `Client.embed_stream`, all that decides what a vector is.
        fingerprint: of the model that must make them; empty where the first part decides.
    """

    input: str
    seen: tuple[int, int]
    form: Form
    id_type: str | None
    folder: Path
    words: dict[str, Any]
    fingerprint: str

    def layout(self, model: Description) -> Layout:
        """Of parts that this model makes; what the words leave open is left out."""
        facts = {"model": model.model, "revision": model.revision, "version": __version__}
        facts |= {name: str(value) for name, value in self.words.items() if value is not None}
        dim = self.words["dimensions"] or model.dimensions.native
        return Layout(dim, self.words["encoding"], self.id_type, model.fingerprint, facts)


def make_parts(
    job: Job,
    parts: Sequence[Part],
    layout: Layout,
    embed: Embed,
    tick: Tick,
) -> Iterator[Done]:
    """Each part as it gets its name. What breaks off in the middle of one leaves nothing of it.

    Args:
        job: of the run.
        parts: to be made, in their order.
        layout: of the parts.
        embed: gives an item for each pair of a row and a text, in their order.
        tick: told of texts as they are embedded.

    Raises:
        InvalidRequestError: the input was changed.
        QwireError: what `embed` raises.
        OSError: a part cannot be written.
    """
    with closing(embed(_rows(job, parts))) as stream:
        for part in parts:
            file = PartFile(job.folder, part, layout)
            try:
                for item in islice(stream, part.rows):
                    _add(file, item)
                    tick(1, item.tokens)
                _check_unchanged(job, file, part)
                done = file.finish()
            except BaseException:
                file.discard()
                raise
            yield done


def _check_unchanged(job: Job, file: PartFile, part: Part) -> None:
    if file.rows < part.rows or look(job.input) != job.seen:
        raise InvalidRequestError(
            f"{job.input} was changed while it was read: begin anew with --overwrite"
        )


def _rows(job: Job, parts: Sequence[Part]) -> Iterator[tuple[Row, Any]]:
    """The rows of these parts; neighbours are read in one go."""
    for run in _runs(parts):
        with Source(job.input, job.form) as source:
            yield from islice(source.rows(run[0].start), sum(part.rows for part in run))


def _runs(parts: Sequence[Part]) -> Iterator[list[Part]]:
    run: list[Part] = []
    for part in parts:
        if run and part.number != run[-1].number + 1:
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _add(file: PartFile, item: StreamItem) -> None:
    row: Row = item.id
    error = None
    if item.error is not None:
        error = row.error or name_index(str(item.error), row.index)
    file.add(row, item, error)
