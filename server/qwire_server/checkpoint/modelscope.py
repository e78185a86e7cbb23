"""A model from ModelScope, or from the cache of its client, which is an optional package.

What may be set is that client's own: MODELSCOPE_ENDPOINT, MODELSCOPE_CACHE, MODELSCOPE_API_TOKEN,
MODELSCOPE_DOWNLOAD_TIMEOUT. https://pypi.org/project/modelscope-hub
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwire_server.checkpoint.hub import WAYS_OUT
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.checkpoint.progress import Progress


def fetch(model: str, revision: str | None, patterns: Sequence[str], progress: Progress) -> Path:
    """The folder of a snapshot, downloaded as far as it is not in the cache.

    What is there of a file when a download breaks is kept, also for the next process. Without a
    network, what the cache holds is taken.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    if not progress.bars:
        os.environ.setdefault("TQDM_DISABLE", "1")  # its bars know no terminal; read on import
    try:
        import modelscope_hub  # noqa: PLC0415  optional
    except ModuleNotFoundError:
        raise ModelError(
            '--model-source modelscope needs its package: pip install "qwire[modelscope]"'
        ) from None
    options: dict[str, Any] = {"revision": revision, "allow_patterns": list(patterns)}
    try:
        api = modelscope_hub.HubApi()
        _log_like_others()
        callbacks = [_callback(progress)]
        return Path(api.download_repo(model, "model", progress_callbacks=callbacks, **options))
    except Exception as error:  # noqa: BLE001  several families of errors, each told below
        return _cached(modelscope_hub, error, model, options)


def _log_like_others() -> None:
    """Undo the handler that the client gives its logger on import."""
    log = logging.getLogger("modelscope_hub")
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.WARNING)


def _cached(client: Any, error: Exception, model: str, options: dict[str, Any]) -> Path:
    if isinstance(error, client.NetworkError):
        try:
            found = client.HubApi().download_repo(model, "model", local_files_only=True, **options)
        except client.CacheNotFound:
            pass
        else:
            if not any(Path(found).rglob("*.incomplete")):
                return Path(found)
    raise ModelError(_told(client, error, model, options["revision"])) from error


def _callback(progress: Progress) -> type:
    """What the client makes one of for each file it downloads."""

    class FileProgress:
        def __init__(self, filename: str, file_size: int) -> None:
            del filename
            progress.expect_more(file_size)

        def update(self, size: int) -> None:
            progress.received(size)

        def end(self) -> None:
            """Nothing is left to tell."""

    return FileProgress


def _told(client: Any, error: Exception, model: str, revision: str | None) -> str:
    """What happened, and what to do about it."""
    if isinstance(error, client.NotExistError):
        at = f" at revision {revision!r}" if revision else ""
        return f"ModelScope has no model {model!r}{at}: check --model and --revision"
    if isinstance(error, (client.AuthenticationError, client.PermissionDeniedError)):
        return f"ModelScope does not give {model} to everybody: set MODELSCOPE_API_TOKEN"
    return (
        f"{model} is not in the local cache and could not be had from ModelScope "
        f"({type(error).__name__}): check the network and MODELSCOPE_ENDPOINT, leave "
        f"`--model-source modelscope` out to ask the Hugging Face hub, {WAYS_OUT}"
    )
