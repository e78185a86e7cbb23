"""Finds the folder of a model: a local one, the demo package's, or a cache that a hub fills."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qwire_server.checkpoint import demo, hub, inside, modelscope
from qwire_server.checkpoint.progress import Progress
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from typing import TypeAlias

ModelSource: TypeAlias = Literal["hub", "modelscope"]

DEMO = "demo"
# Everything a served model needs. No *.bin or *.pt: those are pickles, which run code when loaded.
_PATTERNS = ("*.safetensors", "*.json", "*/config.json", "README.md")


@dataclass(frozen=True, slots=True)
class Source:
    """A model's name, the folder that holds it, and the hub's commit if the hub says one."""

    model_id: str
    folder: Path
    commit: str = ""


def find(
    model: str,
    revision: str | None = None,
    model_source: ModelSource = "hub",
    progress: Progress | None = None,
    flag: str = "--model",
) -> Source:
    """Locate a model, downloading it if need be, and see that its files lie where it does.

    Args:
        model: `demo`, a folder, or an id such as `Qwen/Qwen3-Embedding-0.6B`.
        revision: branch, tag or commit; the default branch if None.
        model_source: where an id is looked up: the Hugging Face hub (or the mirror that HF_ENDPOINT
            names), or ModelScope.
        progress: told how a download goes.
        flag: that named it, for messages.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    if model == DEMO and flag == "--model":
        return Source(demo.MODEL_ID, demo.find())
    found = _find(model, revision, model_source, progress or Progress(), flag)
    inside.check(found.folder)
    return found


def _find(
    model: str, revision: str | None, model_source: ModelSource, progress: Progress, flag: str
) -> Source:
    path = Path(model).expanduser()
    if path.is_dir():
        return Source(path.resolve().name, path)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ModelError(
            f"{flag} {model}: no such folder, and a hub id looks like Qwen/Qwen3-Embedding-0.6B"
        )
    progress.begin(model)
    if model_source == "modelscope":
        # It keeps snapshots/<branch>: the commit is not known, so the content has to name it.
        found = Source(model, modelscope.fetch(model, revision, _PATTERNS, progress))
    else:
        folder = hub.fetch(model, revision, _PATTERNS, progress)
        found = Source(model, folder, commit=folder.name)  # the cache keeps snapshots/<commit>
    progress.end()
    return found
