"""Loads an embedding model, a reranker, or both, as the settings ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.errors import StartError
from qwire_server.load import load_model
from qwire_server.load_reranker import load_reranker

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.checkpoint.progress import Progress
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings import Settings


def load_all(
    settings: Settings,
    progress: Progress,
    load: Callable[[Settings], LoadedModel] | None = None,
    load_ranker: Callable[[Settings, int], LoadedReranker] | None = None,
) -> tuple[LoadedModel | None, LoadedReranker | None]:
    """Load what the settings ask for; blocks.

    Args:
        settings: of the server.
        progress: told how a download goes.
        load: loads the embedding model; from where the settings say by default.
        load_ranker: loads the reranker, likewise; told the bytes of weights before it.

    Raises:
        StartError: something cannot be served, or nothing is asked for.
    """
    if settings.model == "none" and settings.reranker is None:
        raise StartError("--model none needs --reranker: nothing would be served")
    loaded = None
    if settings.model != "none":
        loaded = load(settings) if load else load_model(settings, progress)
    if settings.reranker is None:
        return loaded, None
    taken = loaded.weight_bytes if loaded else 0
    ranker = (
        load_ranker(settings, taken) if load_ranker else load_reranker(settings, progress, taken)
    )
    if loaded and loaded.served.model == ranker.loaded.served.model:
        raise StartError(
            f"--model and --reranker are both called {loaded.served.model}: rename a folder"
        )
    return loaded, ranker
