"""How much memory a model's weights will take, from the headers of its files alone.

The format: eight bytes with the length of a JSON header, then the header, then the tensors. See
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING

from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_FLOATS = {"F64", "F32", "F16", "BF16"}  # what is converted to the dtype that is asked for
_MAX_HEADER_BYTES = 100_000_000  # the limit of the format


def weight_bytes(folder: Path, bytes_per_value: int) -> int:
    """Bytes of all floating-point weights of a folder's safetensors files, once converted.

    Args:
        folder: of the model.
        bytes_per_value: of the dtype that they are loaded in.

    Raises:
        ModelError: a file is not in the safetensors format.
    """
    files = folder.glob("*.safetensors")
    return bytes_per_value * sum(_values(path) for path in files)


def _values(path: Path) -> int:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        return sum(prod(t["shape"]) for t in tensors if t["dtype"] in _FLOATS)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error
