"""Reads a model folder in the sentence-transformers layout; refuses what it does not understand.

The format: modules.json lists the steps, each with a folder of its own, and
config_sentence_transformers.json holds the prompts. See
https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from qwire_server.checkpoint.architectures import model_types
from qwire_server.checkpoint.config_check import check_config
from qwire_server.checkpoint.json_files import (
    not_as_it_should_be,
    positive,
    read_object,
    read_objects,
    shown,
)
from qwire_server.checkpoint.model_prompts import Prompts, read_prompts
from qwire_server.checkpoint.sentence_config import check_sentence_config
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

Pooling = Literal["last", "mean", "cls"]

_POOLING_NAMES: dict[str, Pooling] = {"lasttoken": "last", "mean": "mean", "cls": "cls"}
_OLD_POOLING_KEYS: tuple[tuple[str, str], ...] = (
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_lasttoken", "lasttoken"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
)
_STEPS = ("Transformer", "Pooling", "Normalize")
_MATRYOSHKA_MIN = 32  # the Qwen3-Embedding model card: 32 up to the native dimension


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything a model folder says that matters for serving it.

    Attributes:
        unknown_keys: keys of its config.json that are in neither list of `architectures`.
    """

    model_type: str
    hidden_size: int
    vocab_size: int
    max_tokens: int
    pooling: Pooling
    prompts: Prompts
    min_dimensions: int
    languages: tuple[str, ...]
    lower_case: bool
    unknown_keys: tuple[str, ...] = ()


def read(
    folder: Path,
    pooling: str = "auto",
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> Layout:
    """Read a model folder.

    Args:
        folder: with config.json, tokenizer.json and modules.json.
        pooling: `auto` follows modules.json; `last`, `mean` or `cls` overrides it, and makes
            modules.json unnecessary.
        query_prompt: replaces the folder's; None keeps it.
        document_prompt: the same for documents.

    Raises:
        ModelError: a file is missing or broken, or asks for something that is not served.
    """
    try:
        return _read(folder, pooling, query_prompt, document_prompt)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(f"a JSON file in {folder} is not what it should be ({what})") from error


def _read(
    folder: Path, pooling: str, query_prompt: str | None, document_prompt: str | None
) -> Layout:
    path = folder / "config.json"
    config = read_object(path)
    _refuse_rerankers(folder, config)
    model_type = _served_type(folder, config)
    unknown = check_config(path, config, "embedding")
    bert_config = check_sentence_config(folder)
    prompts = read_object(folder / "config_sentence_transformers.json", missing={})
    hidden_size: int = config["hidden_size"]
    is_qwen = model_type == "qwen3"
    return Layout(
        model_type=model_type,
        hidden_size=hidden_size,
        vocab_size=config["vocab_size"],
        max_tokens=_max_tokens(folder, config, bert_config),
        pooling=_pooling(folder, pooling),
        prompts=read_prompts(prompts, query_prompt, document_prompt),
        min_dimensions=min(_MATRYOSHKA_MIN, hidden_size) if is_qwen else hidden_size,
        languages=_languages(folder) or (("mul",) if is_qwen else ()),
        lower_case=bool(bert_config.get("do_lower_case", False)),
        unknown_keys=unknown,
    )


def _refuse_rerankers(folder: Path, config: dict[str, Any]) -> None:
    architectures = config.get("architectures")
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if first.endswith("ForSequenceClassification"):
        raise ModelError(
            f"{folder} holds a classifier ({first}), not an embedding model: a reranker is "
            "served with --reranker"
        )


def _served_type(folder: Path, config: dict[str, Any]) -> str:
    model_type = config.get("model_type", "")
    if model_type not in model_types("embedding"):
        raise ModelError(
            f"{folder} holds a model of type {shown(model_type)}; served are qwen3 "
            "(Qwen3-Embedding) and bert"
        )
    return str(model_type)


def _max_tokens(folder: Path, config: dict[str, Any], bert_config: dict[str, Any]) -> int:
    longest: int = config["max_position_embeddings"]
    if (limit := bert_config.get("max_seq_length")) is not None:
        path = folder / "sentence_bert_config.json"
        return min(positive(path, "max_seq_length", limit), longest)
    path = folder / "tokenizer_config.json"
    limit = read_object(path, missing={}).get("model_max_length")
    return longest if limit is None else min(positive(path, "model_max_length", limit), longest)


def _pooling(folder: Path, wanted: str) -> Pooling:
    modules = read_objects(folder / "modules.json")
    if not modules and wanted == "auto":
        raise ModelError(
            f"{folder} has no modules.json, so it does not say how tokens become one vector: "
            "set --pooling last, mean or cls (Qwen3-Embedding uses last); a reranker is served "
            "with --reranker"
        )
    steps = [_step(folder, module) for module in modules]
    for step, _ in steps:
        package, _, name = step.rpartition(".")
        if package.partition(".")[0] != "sentence_transformers" or name not in _STEPS:
            raise ModelError(f"{folder}: the step {step} in modules.json is not served")
    if wanted in _POOLING_NAMES.values():
        return cast("Pooling", wanted)
    path = next((path for step, path in steps if step.endswith(".Pooling")), None)
    if path is None:
        raise ModelError(f"{folder}: modules.json has no Pooling; set --pooling last, mean or cls")
    return _read_pooling(_inside(folder, path) / "config.json")


def _step(folder: Path, module: dict[str, Any]) -> tuple[str, str]:
    """Type and folder of one step of modules.json."""
    step, path = module.get("type"), module.get("path")
    if not isinstance(step, str) or not isinstance(path, str):
        raise not_as_it_should_be(folder / "modules.json", "a step has no type or no path")
    return step, path


def _read_pooling(path: Path) -> Pooling:
    config = read_object(path)
    mode = config.get("pooling_mode") or [v for k, v in _OLD_POOLING_KEYS if config.get(k)]
    modes = mode if isinstance(mode, list) else [mode]
    if len(modes) != 1 or str(modes[0]) not in _POOLING_NAMES:
        raise ModelError(f"{path}: pooling {modes} is not served; last token, mean and cls are")
    if not config.get("include_prompt", True):
        raise ModelError(f"{path}: pooling without the prompt's tokens is not served")
    return _POOLING_NAMES[modes[0]]


def _inside(folder: Path, name: str) -> Path:
    """A folder that modules.json names, which must lie inside the model's."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{folder}: modules.json names {name!r}, outside the model's folder")
    return path


def _languages(folder: Path) -> tuple[str, ...]:
    """Languages of the model card's front matter, if there is a card."""
    card = folder / "README.md"
    if not card.is_file():
        return ()
    from huggingface_hub import metadata_load  # noqa: PLC0415  slow to import

    try:
        languages = (metadata_load(card) or {}).get("language") or []
    except Exception:  # noqa: BLE001  a broken card only costs this hint
        return ()
    listed = [languages] if isinstance(languages, str) else languages
    return tuple(str(language) for language in listed)
