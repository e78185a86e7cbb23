"""What runs in each actor of a cluster: one engine, which makes part after part.

A part does not travel: the actor reads its rows and writes its file, and tells what it did.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from qwire.corpus.makers import StreamMaker
from qwire.corpus.manifest import Done
from qwire.corpus.plan import Part
from qwire.corpus.rows import Start
from qwire.errors import InvalidRequestError, QwireError, ServerError
from qwire_server import logs
from qwire_server.corpus.local import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwire.corpus.parts import Job
    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")


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


def told_from(record: Mapping[str, Any]) -> Told:
    """What `record` wrote."""
    done = Done(**{field.name: record[field.name] for field in fields(Done)})
    return Told(record["error"], bool(record["is_usage"]), done)


def record_of(part: Part) -> dict[str, int]:
    """A part as plain numbers."""
    return {"number": part.number, "rows": part.rows, **asdict(part.start)}


class PartActor:
    """Makes parts. An actor that dies is replaced, and its part made from the beginning.

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
        self._error: QwireError | None = None
        try:
            self._maker = StreamMaker(LocalEngine(settings, load))
        except QwireError as error:  # told by each part: a constructor that fails is tried again
            self._error = error

    def __call__(self, record: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Make the part of a record."""
        number, rows, index, line, end = (
            int(record[name][0]) for name in ("number", "rows", "index", "line", "end")
        )
        try:
            if self._error:
                raise self._error
            done = list(self._maker.make(self._job, [Part(number, Start(index, line, end), rows)]))
            return Told("", is_usage=False, done=done[0]).record()
        except (QwireError, OSError) as error:
            nothing = Done(number, 0, 0, 0, 0, 0, "")
            is_usage = isinstance(error, InvalidRequestError)
            return Told(str(error), is_usage, nothing).record()
