"""What runs in each actor of a cluster: one engine, which makes part after part.

A part does not travel: the actor reads its rows and writes its file, and tells what it did.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from qwire.corpus.makers import StreamMaker
from qwire.corpus.manifest import Done
from qwire.corpus.part_file import ASIDE
from qwire.corpus.plan import Part
from qwire.corpus.rows import Start
from qwire.errors import InvalidRequestError, QwireError, ServerError
from qwire_server import logs
from qwire_server.corpus.local import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from qwire.corpus.parts import Job
    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

_NOTHING = Done(0, 0, 0, 0, 0, 0, "")
_MOST_DEATHS = 3  # of one part, by whatever takes a process down


@dataclass(frozen=True)
class Told:
    """What an actor says of a part: that it is done, or why it is not.

    Attributes:
        error: why; empty if it is done.
        is_usage: the caller can mend it, by other settings.
        done: the part's facts; of no meaning with an error.
    """

    error: str
    is_usage: bool
    done: Done

    def result(self) -> Done:
        """The part.

        Raises:
            InvalidRequestError, ServerError: it is not done.
        """
        if self.error:
            raise (InvalidRequestError if self.is_usage else ServerError)(self.error)
        return self.done

    def record(self) -> dict[str, list[Any]]:
        """As a table of one row."""
        facts = {"error": self.error, "is_usage": self.is_usage, **asdict(self.done)}
        return {name: [value] for name, value in facts.items()}


def told_of(error: Exception) -> Told:
    """That nothing was done, and why."""
    return Told(str(error), isinstance(error, InvalidRequestError), _NOTHING)


def told_from(record: Mapping[str, Any]) -> Told:
    """What `record` wrote."""
    done = Done(**{field.name: record[field.name] for field in fields(Done)})
    return Told(record["error"], bool(record["is_usage"]), done)


def record_of(part: Part) -> dict[str, int]:
    """A part as plain numbers."""
    return {"number": part.number, "rows": part.rows, **asdict(part.start)}


class PartActor:
    """Makes parts. One that dies is replaced by Ray, and its part made from the beginning.

    Args:
        settings: of the model.
        load: where it comes from.
        job: of the run.
    """

    def __init__(
        self, settings: Settings, load: Callable[[Settings], LoadedModel], job: Job
    ) -> None:
        logs.configure("text", "warning")
        self._job = job
        # Not here: Ray would replace an actor that dies while it loads for ever.
        self._maker = cache(lambda: StreamMaker(LocalEngine(settings, load)))

    def __call__(self, record: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Make the part of a record, and tell it as another one."""
        number, rows, index, line, end = (
            int(record[name][0]) for name in ("number", "rows", "index", "line", "end")
        )
        part = Part(number, Start(index, line, end), rows)
        try:
            with _one_try(self._job.folder, part):
                (done,) = self._maker().make(self._job, [part])
        except (QwireError, OSError) as error:
            return told_of(error).record()
        return Told("", is_usage=False, done=done).record()


def check_model(settings: Settings, load: Callable[[Settings], LoadedModel], job: Job) -> Told:
    """Load the model only to see that it is that of the job."""
    try:
        with LocalEngine(settings, load) as engine:
            StreamMaker(engine).check(job)
    except QwireError as error:
        return told_of(error)
    return Told("", is_usage=False, done=_NOTHING)


@contextmanager
def _one_try(folder: Path, part: Part) -> Iterator[None]:
    """Leave a mark if this process dies, and see that it is not the last of too many.

    Raises:
        ServerError: it is.
    """
    deaths = len(list(folder.glob(f"{ASIDE}{part.number:05}-try-*")))
    if deaths == _MOST_DEATHS:
        first, last = part.start.index, part.start.index + part.rows - 1
        raise ServerError(
            f"{deaths} actors died of rows {first} to {last} (out of memory, most likely): see "
            "Ray's log"
        )
    mark = folder / f"{ASIDE}{part.number:05}-try-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
