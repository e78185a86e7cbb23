"""A model from the Hugging Face hub, a mirror of it, or its cache.

What may be set is huggingface_hub's own: HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN,
HF_HUB_DOWNLOAD_TIMEOUT. https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from __future__ import annotations

import errno
import logging
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqdm.asyncio import tqdm_asyncio

    from qwire_server.checkpoint.progress import Progress

_BYTES_BAR = "huggingface_hub.snapshot_download"  # of its bars, the one that counts bytes on disk
WAYS_OUT = "give --model a local folder, or try `--model demo`, which needs no hub"


def fetch(model: str, revision: str | None, patterns: Sequence[str], progress: Progress) -> Path:
    """The folder of a snapshot, downloaded as far as it is not in the cache.

    A connection that breaks or stalls is opened again where it stopped, and given up after five
    times without a byte.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow to import

    logging.getLogger("huggingface_hub").handlers.clear()  # this process's own writes its lines
    _limit_every_wait()
    try:
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(patterns),
                tqdm_class=_bar_that_tells(progress),
            )
        )
    except Exception as error:  # the hub client raises several families of errors
        raise ModelError(_told(error, model, revision)) from error


def _limit_every_wait() -> None:
    """Hold all requests to HF_HUB_DOWNLOAD_TIMEOUT: some of the hub client's have no limit."""
    from huggingface_hub import constants, get_session  # noqa: PLC0415  slow to import

    def limit(request: Any) -> None:
        waits = request.extensions.setdefault("timeout", {})
        for phase in ("connect", "read", "write", "pool"):
            if waits.get(phase) is None:
                waits[phase] = constants.HF_HUB_DOWNLOAD_TIMEOUT

    get_session().event_hooks["request"].append(limit)


def _bar_that_tells(progress: Progress) -> type[tqdm_asyncio[Any]]:
    """The hub client's progress bar, which also tells `progress`."""
    from huggingface_hub.utils.tqdm import tqdm as hub_tqdm  # noqa: PLC0415  slow to import

    class Bar(hub_tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("name") == _BYTES_BAR
            if not progress.bars:
                kwargs["disable"] = True
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # foreign

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts_bytes:
                progress.expect(int(self.total or 0))
                progress.received(int(n or 0))
            shown: bool | None = super().update(n)
            return shown

    return Bar


def _told(error: Exception, model: str, revision: str | None) -> str:
    """What happened, and what to do about it."""
    from huggingface_hub import constants, errors  # noqa: PLC0415  slow to import

    status = _status(error)
    at = f"{model} at revision {revision!r}" if revision else model
    if isinstance(error, errors.GatedRepoError) or status == HTTPStatus.FORBIDDEN:
        return (
            f"{model} asks for an accepted licence: accept it on its page at {constants.ENDPOINT}, "
            "then log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{model} has no revision {revision!r} at {constants.ENDPOINT}: check --revision"
    # The hub itself answers 401 to those who may not know whether a model exists.
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED}:
        return (
            f"{constants.ENDPOINT} has no model {model!r}, or a private one: check --model; for a "
            "private one log in with `hf auth login` or set HF_TOKEN"
        )
    if constants.HF_HUB_OFFLINE:
        return (
            f"{at} is not, or not as a whole, in the local cache ({constants.HF_HUB_CACHE}), and "
            f"HF_HUB_OFFLINE forbids to ask the hub: unset it once to download, {WAYS_OUT}"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"no space left for {model} in {constants.HF_HUB_CACHE}: set HF_HOME to a larger disk"
        )
    cause = f"status {status}" if status else type(error.__cause__ or error).__name__
    return (
        f"{at} is not, or not as a whole, in the local cache, and could not be had from "
        f"{constants.ENDPOINT} ({cause}): check the network, set HF_ENDPOINT to a mirror, "
        f"take it from ModelScope with `--model-source modelscope`, {WAYS_OUT}"
    )


def _status(error: Exception) -> int | None:
    """Of the HTTP reply behind an error, if there was one."""
    response = getattr(error.__cause__ or error, "response", None)
    return None if response is None else int(response.status_code)
