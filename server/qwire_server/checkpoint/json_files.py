"""Reads the JSON files of a model folder, and says in one sentence what is wrong with one.

A folder may come from anywhere: a file may be missing, cut short, nested without end, or hold
another type than it should.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_MAX_DEPTH = 64  # of lists and objects in each other; those of real models have a handful


def read_json(path: Path, missing: Any = None) -> Any:
    """Parse a JSON file.

    Args:
        path: path of the file.
        missing: returned for a file that is not there; without it, such a file is an error.

    Raises:
        ModelError: it is missing, or not JSON.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise ModelError(
            f"{path.parent} has no {path.name}: a model folder in the sentence-transformers layout "
            "is needed, as huggingface_hub downloads it"
        ) from None
    except RecursionError:
        raise _too_deep(path) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    _check_depth(path, found)
    return found


def read_object(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parse a JSON file that holds an object; see `read_json`."""
    found = read_json(path, missing)
    if not isinstance(found, dict):
        raise not_as_it_should_be(path, "it holds no JSON object")
    return found


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Parse a JSON file that holds a list of objects; empty without the file."""
    found = read_json(path, missing=[])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise not_as_it_should_be(path, "it holds no list of JSON objects")
    return found


def _check_depth(path: Path, content: Any) -> None:
    """Refuse what the parser of this Python can read, and what reads it afterwards cannot."""
    level = [content]
    for _ in range(_MAX_DEPTH):
        level = [v for value in level for v in _inside(value) if isinstance(v, (dict, list))]
        if not level:
            return
    raise _too_deep(path)


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep(path: Path) -> ModelError:
    return ModelError(f"{path} cannot be read: it is nested too deeply")


def positive(path: Path, name: str, value: Any) -> int:
    """A whole number from 1 on, such as a number of tokens; of a float, its whole part.

    `model_max_length` is often 1e30, which means that there is no limit.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < 1e300:
        raise not_as_it_should_be(path, f"{name} is {shown(value)}, not a number from 1 on")
    return int(value)


def shown(value: Any) -> str:
    """A value for a message, in one line that is not long."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def not_as_it_should_be(path: Path, what: str) -> ModelError:
    """The error for a file whose content has another shape than it should."""
    return ModelError(f"{path} is not what it should be: {what}")
