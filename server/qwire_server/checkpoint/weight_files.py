"""Which files hold a model's weights: the same list is checked, hashed, measured and loaded.

Only safetensors, by content: eight bytes with the length of a JSON header, then the header, then
the tensors. See https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, Any

from qwire_server.checkpoint.json_files import not_as_it_should_be, read_object, shown
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_FLOATS = {"F64", "F32", "F16", "BF16"}  # what is converted to the dtype that is asked for
_COMPUTED = re.compile(r"(^|\.)(position_ids|token_type_ids|num_batches_tracked)$")  # integers
_MAX_HEADER_BYTES = 100_000_000  # the limit of the format
_PICKLES = (b"PK\x03\x04", b"\x80")  # how torch.save begins a file, now and before 1.6


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that transformers loads, in the order of their names.

    Raises:
        ModelError: there are none, one lies elsewhere, or one is no safetensors file.
    """
    config = read_object(folder / "config.json", missing={})
    named = config.get("transformers_weights")
    if named is not None:
        names = [_plain(folder / "config.json", named)]
    elif (folder / _SINGLE).is_file():
        names = [_SINGLE]
    elif (folder / _INDEX).is_file():
        names = [_INDEX]
    else:
        raise ModelError(f"{folder} has no *.safetensors file; other weight formats are not loaded")
    if names[0].endswith(".safetensors.index.json"):
        names = _shards(folder / names[0])
    files = tuple(folder / name for name in names)
    for path in files:
        if path.suffix != ".safetensors":
            by = "transformers_weights of config.json" if len(names) == 1 and named else "an index"
            raise ModelError(
                f"{folder}: {by} names {shown(path.name)} as weights; only *.safetensors files "
                "are loaded"
            )
        _tensors(path)
    return files


def weight_bytes(files: Sequence[Path], bytes_per_value: int) -> int:
    """Bytes of all floating-point weights, once converted, from the files' headers alone.

    Args:
        files: see `weight_files`.
        bytes_per_value: bytes of one value in the dtype that they are loaded in.

    Raises:
        ModelError: a file is not in the safetensors format.
    """
    shapes: list[list[int]] = [t["shape"] for path in files for t in _tensors(path)]
    return bytes_per_value * sum(map(prod, shapes))


def _shards(path: Path) -> list[str]:
    shards = read_object(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise not_as_it_should_be(path, "it has no weight_map")
    return sorted({_plain(path, name) for name in shards.values()})


def _plain(path: Path, name: Any) -> str:
    """A name that a file gives, which must be that of a file beside it."""
    if not isinstance(name, str) or name in {"", ".", ".."} or re.search(r"[/\\\0]", name):
        raise ModelError(f"{path} names {shown(name)}, which is not a file of the model's folder")
    return name


def _tensors(path: Path) -> list[dict[str, Any]]:
    """Of the header of one file, its floating-point tensors."""
    try:
        tensors = _header(path)
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error
    floats = []
    for name, tensor in tensors.items():
        if str(tensor["dtype"]) in _FLOATS:
            floats.append(tensor)
        elif not _COMPUTED.search(name):
            raise ModelError(
                f"{path}: {shown(name)} has the dtype {shown(tensor['dtype'])}: quantised weights "
                "are not served; use the model's original weights, in float32, float16 or bfloat16"
            )
    return floats


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        begin = file.read(8)
        length = int.from_bytes(begin, "little")
        if not 2 <= length <= _MAX_HEADER_BYTES:  # "{}"
            pickled = begin.startswith(_PICKLES)
            what = "it is a pickle" if pickled else f"its header would have {length} bytes"
            raise ValueError(what)
        header = json.loads(file.read(length))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for entry in tensors.values():
        if not all(isinstance(dim, int) and dim >= 0 for dim in entry["shape"]):
            raise ValueError("a shape is no list of sizes")
    return tensors
