"""Makes parts in a pool of actors, with Ray Data.

What goes through Ray is the list of parts and what became of each: rows and vectors go from file to
file, inside an actor. So nothing fills the object store, and what is done is what has its name.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# Read when Ray is imported. Its logs are files; what the caller must know is said by us.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray
import ray.data

from qwire.errors import ConnectionFailedError, ServerError
from qwire_server.corpus.actor import PartActor, check_model, record_of, told_from
from qwire_server.corpus.local import read_settings
from qwire_server.load import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from qwire.corpus.manifest import Done
    from qwire.corpus.parts import Job, Tick
    from qwire.corpus.plan import Part
    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

__all__ = ["Cluster", "read_settings"]
_STORE_BYTES = 128 * 2**20  # of a cluster of our own: nothing but lists of parts goes through it


class Cluster:
    """The cluster that RAY_ADDRESS names, or one on this machine; use in `with`.

    Args:
        settings: of the model.
        actors: how many; None is one for each GPU, or for each machine if there is none.
        load: where the model comes from, in each actor.
    """

    def __init__(
        self,
        settings: Settings,
        actors: int | None = None,
        load: Callable[[Settings], LoadedModel] = load_model,
    ) -> None:
        self._settings = settings
        self._actors = actors
        self._load = load

    def __enter__(self) -> Self:
        """Connect, or start a cluster.

        Raises:
            ConnectionFailedError: neither is possible.
        """
        quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        try:
            if os.environ.get("RAY_ADDRESS"):
                ray.init(**quiet)
            else:
                ray.init(
                    "local", object_store_memory=_STORE_BYTES, include_dashboard=False, **quiet
                )
        except Exception as error:  # Ray raises plain ones
            raise ConnectionFailedError(f"no Ray cluster: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ray.shutdown()

    def check(self, job: Job) -> None:
        """See that the model, which one of the machines loads, is that of the job.

        Raises:
            InvalidRequestError: the model cannot be loaded, or is not that of the job.
            ServerError: the machine could not load it.
        """
        task = ray.remote(max_retries=0, **_share(1))(check_model)
        with _told_by_us():
            ray.get(task.remote(self._settings, self._load, job)).result()

    def make(self, job: Job, parts: Sequence[Part], tick: Tick) -> Iterator[Done]:
        """Each part as it gets its name, in any order.

        Raises:
            InvalidRequestError: the model cannot be loaded, or is not that of the job.
            ServerError: an actor could not make its part.
        """
        if not parts:
            return
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is ours
        records = ray.data.from_items(list(map(record_of, parts)), override_num_blocks=len(parts))
        made = records.map_batches(
            PartActor,
            batch_size=1,
            fn_constructor_kwargs={"settings": self._settings, "load": self._load, "job": job},
            **self._pool(len(parts)),
        )
        with _told_by_us():
            for record in made.iter_rows():
                done = told_from(record).result()
                tick(done.rows, done.tokens)
                yield done

    def _pool(self, parts: int) -> dict[str, Any]:
        """How many actors, and what each of them takes up."""
        machines = sum(1 for node in ray.nodes() if node["Alive"])
        gpus = int(ray.cluster_resources().get("GPU", 0.0))
        actors = min(self._actors or gpus or machines, parts)
        return {"compute": ray.data.ActorPoolStrategy(size=actors), **_share(actors)}


def _share(actors: int) -> dict[str, Any]:
    """What each of so many actors takes up."""
    resources = ray.cluster_resources()
    if gpus := resources.get("GPU", 0.0):
        return {"num_cpus": 1, "num_gpus": min(1.0, gpus / actors)}
    return {"num_cpus": max(1, int(resources.get("CPU", 1.0)) // actors)}


@contextmanager
def _told_by_us() -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines()[-1]
        raise ServerError(f"the cluster failed: {words}") from error
