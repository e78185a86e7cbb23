"""Loads the weights into transformers' own model, and accounts for every tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from qwire_server.errors import ModelError
from qwire_server.model import attention

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from qwire_server.checkpoint.layout import Layout

# What a checkpoint may hold beyond the encoder: the head that predicts tokens, tables that are
# computed, the pooler that sentence-transformers does not use either.
_UNUSED = re.compile(r"(^|\.)(lm_head|cls|pooler)\.|(^|\.)(position_ids|inv_freq)$")


def load(folder: Path, layout: Layout, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """Load safetensors from a local folder, in eval mode, on `device`.

    No code of the model's repository runs. Keys with and without the `model.` prefix load.

    Raises:
        ModelError: a file is unreadable, a weight is missing, or one is not understood.
    """
    attention.register()
    # Its report of unused tensors and its progress bar: every tensor is accounted for below.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    options = {"add_pooling_layer": False} if layout.model_type == "bert" else {}
    try:
        model, info = AutoModel.from_pretrained(
            str(folder),
            dtype=dtype,
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # transformers and safetensors raise many kinds
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the weights in {folder} cannot be loaded: {first_line}") from error
    _account(folder, info)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def _account(folder: Path, info: dict[str, list[str]]) -> None:
    strange = [k for k in info["unexpected_keys"] if not _UNUSED.search(k)]
    missing = [k for k in info["missing_keys"] if not _UNUSED.search(k)]
    if missing or strange or info.get("mismatched_keys"):
        parts = {"missing": missing, "unknown": strange, "misshapen": info.get("mismatched_keys")}
        told = "; ".join(f"{len(v)} {k}, such as {min(map(str, v))}" for k, v in parts.items() if v)
        raise ModelError(f"the weights in {folder} do not match the model: {told}")
