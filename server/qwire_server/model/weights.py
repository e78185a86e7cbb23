"""Loads the weights into transformers' own model, and accounts for every tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from qwire_server.errors import ModelError
from qwire_server.model import attention

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwire_server.checkpoint.layout import Layout
    from qwire_server.checkpoint.rank_layout import RankLayout

# What a checkpoint may hold beyond the encoder: the head that predicts tokens, tables that are
# computed, the pooler that sentence-transformers does not use either.
_UNUSED = re.compile(r"(^|\.)(lm_head|cls|pooler)\.|(^|\.)(position_ids|inv_freq)$")


_COMPUTED = re.compile(r"(^|\.)(position_ids|inv_freq)$")
_OUTPUT = "lm_head.weight"


def load(
    folder: Path, layout: Layout | RankLayout, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """Load safetensors from a local folder, in eval mode, on `device`.

    No code of the model's repository runs. Keys with and without the `model.` prefix load.

    Raises:
        ModelError: a file is unreadable, a weight is missing, or one is not understood.
    """
    options = {"add_pooling_layer": False} if layout.model_type == "bert" else {}
    model, info = _read(AutoModel, folder, dtype, **options)
    _account(folder, info, unused=_UNUSED)
    _refuse_not_finite(folder, model)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def load_classifier(folder: Path, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The same with the head of a classifier, of which nothing may be missing.

    Raises:
        ModelError: see `load`.
    """
    model, info = _read(AutoModelForSequenceClassification, folder, dtype)
    _account(folder, info, unused=_COMPUTED)
    _refuse_not_finite(folder, model)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def output_rows(
    files: Sequence[Path], model: PreTrainedModel, ids: tuple[int, ...]
) -> torch.Tensor:
    """Rows of the output embedding of a causal model, (ids, hidden), on the model's device.

    They are those of its input embedding if the two are tied, else of the file's `lm_head`.

    Raises:
        ModelError: they are not tied, and there is no `lm_head`.
    """
    if model.config.tie_word_embeddings:
        table = model.get_input_embeddings().weight
        assert isinstance(table, torch.Tensor)
        return table[torch.tensor(ids, device=model.device)].detach()
    for path in files:
        with safe_open(path, framework="pt") as file:
            if _OUTPUT in file.keys():  # noqa: SIM118  not a mapping
                rows = file.get_slice(_OUTPUT)
                return torch.cat([rows[i : i + 1] for i in ids]).to(model.device)
    raise ModelError(
        f"{files[0].parent} has no {_OUTPUT}: not a causal model, so no Qwen3-Reranker"
    )


def _read(
    kind: Any, folder: Path, dtype: torch.dtype, **options: Any
) -> tuple[Any, dict[str, list[str]]]:
    """The model, and what of the files did not fit it."""
    attention.register()
    # Its report of unused tensors and its progress bar: every tensor is accounted for.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, info = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            # Of config.json; they would change no vector, and break or slow down the forward.
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
            chunk_size_feed_forward=0,
            **options,
        )
    except Exception as error:  # transformers and safetensors raise many kinds
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the weights in {folder} cannot be loaded: {first_line}") from error
    return model, info


def _account(folder: Path, info: dict[str, list[str]], unused: re.Pattern[str]) -> None:
    strange = [k for k in info["unexpected_keys"] if not _UNUSED.search(k)]
    missing = [k for k in info["missing_keys"] if not unused.search(k)]
    if missing or strange or info.get("mismatched_keys"):
        parts = {"missing": missing, "unknown": strange, "misshapen": info.get("mismatched_keys")}
        told = "; ".join(f"{len(v)} {k}, such as {min(map(str, v))}" for k, v in parts.items() if v)
        raise ModelError(f"the weights in {folder} do not match the model: {told}")


def _refuse_not_finite(folder: Path, model: PreTrainedModel) -> None:
    """A weight that is NaN spoils every vector, or those of one token."""
    for name, weight in model.named_parameters():
        if weight.numel() and not all(bound.isfinite() for bound in torch.aminmax(weight.detach())):
            raise ModelError(
                f"the weights in {folder} hold NaN or infinity: {name} does in {weight.dtype}, so "
                "the files are damaged or come from a training that failed; get them again"
            )
