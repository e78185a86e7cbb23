"""Reads sentence_bert_config.json: what sentence-transformers' Transformer step does besides.

See https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwire_server.checkpoint.json_files import not_as_it_should_be, read_object, shown
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

# The names that sentence-transformers tries, in its order.
_NAMES = tuple(
    f"sentence_{model}_config.json"
    for model in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_HONOURED = ("max_seq_length", "do_lower_case")
# These keys are not read here. With these values they describe what happens anyway.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    "unpad_inputs": (None, True, False),
    "tokenizer_name_or_path": (None,),
    **dict.fromkeys(
        (
            *("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs"),
            *("config_kwargs", "processing_kwargs"),
            *("query_length", "document_length", "query_expansion"),
        ),
        (None, {}),
    ),
}
_OUTPUTS = (None, "last_hidden_state")


def check_sentence_config(folder: Path) -> dict[str, Any]:
    """The file's content, or nothing without one; it asks for nothing that would not be done.

    Raises:
        ModelError: it asks for something else; the message names the key.
    """
    path = next((folder / name for name in _NAMES if (folder / name).exists()), folder / _NAMES[0])
    config = read_object(path, missing={})
    for name, value in config.items():
        if name not in _HONOURED and not _is_harmless(name, value):
            raise ModelError(f"{path}: {name[:100]} is {shown(value)}, which is not served")
    if not isinstance(config.get("do_lower_case", False), bool):
        raise not_as_it_should_be(path, "do_lower_case is neither true nor false")
    return config


def _is_harmless(name: str, value: Any) -> bool:
    if name != "modality_config":
        return value in _HARMLESS.get(name, (value,))
    text = value.get("text", {}) if isinstance(value, dict) else None
    if not isinstance(text, dict):
        return False
    return text.get("method", "forward") == "forward" and text.get("method_output_name") in _OUTPUTS
