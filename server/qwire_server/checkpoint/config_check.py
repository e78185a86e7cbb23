"""Reads config.json by the lists of `architectures`: honoured, refused or reported as unknown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qwire_server.checkpoint.architectures import (
    ABSENT,
    ARCHITECTURES,
    HONOURED,
    INERT,
    REFUSED,
    REQUIRED,
    ROPE_KINDS,
    ROPE_NAMES,
)
from qwire_server.checkpoint.json_files import not_as_it_should_be, shown
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from qwire_server.checkpoint.architectures import Harmless, Role

# Keys that say by their names what they ask for, whichever tool wrote them.
_QUANTISED = re.compile(r"quant|^compression_config$", re.IGNORECASE)
_BIDIRECTIONAL = re.compile(r"bi_?directional", re.IGNORECASE)
# How a cross-encoder's logit becomes a score: the server gives log-odds or probabilities.
_SCORE_ACTIVATIONS = (
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.activation.Sigmoid",
)


def check_config(path: Path, config: dict[str, Any], role: Role) -> tuple[str, ...]:
    """See that a config.json asks for nothing that would not be done.

    Args:
        path: path of the file, for messages.
        config: its content, of one of `model_types(role)`.
        role: kind of model to serve, embedding or reranker.

    Returns:
        Names of keys that are neither known to be honoured nor to change nothing.

    Raises:
        ModelError: it asks for something else; the message names the key and its value.
    """
    one = ARCHITECTURES[config["model_type"]]
    _refuse_quantised(path, config)
    _check_architectures(path, config, getattr(one, role))
    refused = {**REFUSED, **one.refused}
    _refuse(path, config, refused)
    honoured = {**HONOURED, **one.honoured}
    for name in REQUIRED:
        if name not in config:
            raise not_as_it_should_be(path, f"it has no {name}")
    for name, kind in honoured.items():
        if name in config and not kind.fits(config[name]):
            what = f"{name} is {shown(config[name])}, not {kind.words}"
            raise not_as_it_should_be(path, what)
    known = {*honoured, *refused, *one.inert, *INERT}
    if config["model_type"] == "qwen3":
        known |= _check_layers(path, config) | _check_rope(path, config)
    if role == "reranking":
        known |= _check_score(path, config)
    unknown = (n for n in config if n not in known and not _QUANTISED.search(n))
    return tuple(sorted(ascii(name[:100])[1:-1] for name in unknown))


def _refuse_quantised(path: Path, config: dict[str, Any]) -> None:
    for name, value in _nested(config):
        if _QUANTISED.search(name.rpartition(".")[2]) and value not in (None, False):
            method = value.get("quant_method") if isinstance(value, dict) else None
            kind = f" ({shown(method)})" if method else ""
            raise ModelError(
                f"{path}: {name}{kind} says that the weights are quantised, and quantised weights "
                "are not served: use the model's original weights, in float32, float16 or bfloat16"
            )


def _check_architectures(path: Path, config: dict[str, Any], understood: frozenset[str]) -> None:
    found = config.get("architectures") or []
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise not_as_it_should_be(path, f"architectures is {shown(found)}, not a list of names")
    for entry in found:
        if entry not in understood:
            raise ModelError(
                f"{path}: architectures names {shown(entry)}, which is not served: of "
                f"{config['model_type']}, {', '.join(sorted(understood))} are"
            )


def _refuse(path: Path, config: dict[str, Any], refused: dict[str, Harmless]) -> None:
    for name, value in _nested(config):
        last = name.rpartition(".")[2]
        harmless = refused.get(last, ABSENT if _BIDIRECTIONAL.search(last) else None)
        if harmless is not None and value not in harmless:
            # By itself, a value that is harmless reads as advice to change the file.
            what = (
                "sliding-window attention" if last == "use_sliding_window" else "what it asks for"
            )
            raise ModelError(
                f"{path}: {name} is {shown(value)}, and {what} is not served: the vectors would "
                "be wrong"
            )


def _nested(config: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Keys with their values, those of configurations inside included, as `outer.inner`."""
    found = []
    for name, value in config.items():
        found.append((before + name, value))
        if isinstance(value, dict) and name not in {"id2label", "label2id", "task_specific_params"}:
            found += _nested(value, f"{before}{name}.")
    return found


def _check_layers(path: Path, config: dict[str, Any]) -> set[str]:
    layers = config.get("layer_types")
    if layers is not None and (
        not isinstance(layers, list) or set(map(str, layers)) != {"full_attention"}
    ):
        raise ModelError(
            f"{path}: layer_types is {shown(layers)}, and only full_attention is served"
        )
    return {"layer_types"}


def _check_rope(path: Path, config: dict[str, Any]) -> set[str]:
    """See that rotary positions are of a kind that transformers computes for each token alone."""
    for name in ("rope_scaling", "rope_parameters"):
        rope = config.get(name)
        if rope is None:
            continue
        if not isinstance(rope, dict):
            raise not_as_it_should_be(path, f"{name} is {shown(rope)}, not an object")
        for key in ("rope_type", "type"):
            if rope.get(key, "default") not in ROPE_KINDS:
                raise ModelError(
                    f"{path}: {name}.{key} is {shown(rope[key])}, which is not served: "
                    f"{', '.join(ROPE_KINDS)} are"
                )
        if unknown := sorted(set(rope) - ROPE_NAMES):
            raise ModelError(f"{path}: {name}.{unknown[0]} is not understood, so not served")
    return {"rope_scaling", "rope_parameters"}


def _check_score(path: Path, config: dict[str, Any]) -> set[str]:
    """Of a cross-encoder: how its logit becomes a score."""
    old, block = "sbert_ce_default_activation_function", "sentence_transformers"
    inside = config.get(block) or {}
    if not isinstance(inside, dict):
        raise not_as_it_should_be(path, f"{block} is {shown(inside)}, not an object")
    for value in (config.get(old), inside.get("activation_fn")):
        if value is not None and value not in _SCORE_ACTIVATIONS:
            raise ModelError(
                f"{path}: the activation {shown(value)} of scores is not served: log-odds and "
                "probabilities are"
            )
    return {old, block}
