"""Refuses a model folder whose files lead out of it, or would bring in what is not there.

A folder may come from anywhere. What is read of it must lie in it, at any depth; a hub's cache
keeps files as links into its own `blobs`, and those are followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qwire_server.checkpoint.json_files import read_json
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

_INDEX = "*.index.json"  # names the files that hold the weights
_ADAPTER = "adapter_config.json"  # names a model elsewhere, which transformers would load


def check(folder: Path) -> None:
    """Look at each file and folder that may be read.

    Raises:
        ModelError: one lies elsewhere, or names something elsewhere.
    """
    whole = folder.resolve()
    roots = (whole, *blobs_of(whole))
    for path in _links(folder):
        if not any(_target(path).is_relative_to(root) for root in roots):
            raise ModelError(
                f"{path} leads out of the model's folder: put the file itself there, or name the "
                "folder that holds it"
            )
    for path in folder.glob(_INDEX):
        _check_index(path)
    if (folder / _ADAPTER).exists():
        raise ModelError(
            f"{folder} holds an adapter ({_ADAPTER}), which needs a model elsewhere: serve the "
            "merged model"
        )


def blobs_of(folder: Path) -> list[Path]:
    """Of the cache that a folder is a snapshot in: `<model>/snapshots/<commit>`."""
    if folder.parent.name != "snapshots":
        return []
    return [(folder.parent.parent / "blobs").resolve()]


def _links(folder: Path) -> Iterator[Path]:
    """Symbolic links at any depth; what is none lies where its folder does."""
    for parent, folders, files in os.walk(folder):  # links to folders are not followed
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink():
                yield path


def _target(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ModelError(f"{link} cannot be followed: {error}") from error


def _check_index(path: Path) -> None:
    try:
        names = set(read_json(path)["weight_map"].values())
        outside = sorted(name for name in names if Path(name).name != name)
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not an index of weights: {error}") from error
    if outside:
        raise ModelError(f"{path} names {outside[0]!r}, which is not a file of the model's folder")
