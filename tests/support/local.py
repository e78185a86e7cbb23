"""A model as the server loads it, without the server: settings in, vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwire_server.engine.rows import finish
from qwire_server.engine.work import RowForm
from qwire_server.load import LoadedModel, load_model
from qwire_server.settings import Settings
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def load(folder: Path | str, **settings: object) -> LoadedModel:
    """Load on the CPU, in fp32 unless told otherwise."""
    return load_model(
        Settings(**{"model": str(folder), "device": "cpu", "dtype": "float32", **settings})
    )


def embed(
    loaded: LoadedModel,
    texts: list[str],
    *,
    prompt: str = "",
    dimensions: int | None = None,
    truncate: Truncate = Truncate.END,
) -> NDArray[np.float32]:
    """One packed forward of all texts."""
    encoded = loaded.tokenizer.encode(texts, prompt, truncate)
    pooled = loaded.runner.run(encoded.ids)
    return finish(pooled, RowForm(dimensions or loaded.served.native_dimensions))
