"""Loads an embedding model, a reranker, or both, as the settings ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings import Settings


def load_all(
    settings: Settings,
    load: Callable[[Settings], LoadedModel],
    load_ranker: Callable[[Settings, int], LoadedReranker],
) -> tuple[LoadedModel | None, LoadedReranker | None]:
    """Load what the settings ask for; blocks.

    Args:
        settings: of the server.
        load: loads the embedding model.
        load_ranker: loads the reranker, told the bytes of weights before it.

    Raises:
        StartError: something cannot be served, or nothing is asked for.
    """
    if settings.model == "none" and settings.reranker is None:
        raise StartError("--model none needs --reranker: nothing would be served")
    loaded = None if settings.model == "none" else load(settings)
    if settings.reranker is None:
        return loaded, None
    ranker = load_ranker(settings, loaded.weight_bytes if loaded else 0)
    if loaded and loaded.served.model == ranker.loaded.served.model:
        raise StartError(
            f"--model and --reranker are both called {loaded.served.model}: rename a folder"
        )
    return loaded, ranker
