"""Reads the folder of a reranker; refuses what it does not understand.

Two kinds are served: Qwen3-Reranker, a causal model that is asked for "yes" or "no", and
sentence-transformers' cross-encoders, which are classifiers with one label. See
https://sbert.net/docs/cross_encoder/usage/usage.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qwire_server.checkpoint.architectures import model_types
from qwire_server.checkpoint.config_check import check_config
from qwire_server.checkpoint.json_files import positive, read_object, read_objects, shown
from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

RankKind = Literal["yes_no", "classifier"]

_DEFAULT_LABELS = 2  # of a config.json that names none, as transformers reads it


@dataclass(frozen=True, slots=True)
class RankLayout:
    """Everything a reranker's folder says that matters for serving it.

    Attributes:
        max_tokens: that its positions allow, of prompt, query and document together.
        tells_segments: whether the model is told which tokens are the document's.
        unknown_keys: keys of its config.json that are in neither list of `architectures`.
    """

    kind: RankKind
    model_type: str
    vocab_size: int
    max_tokens: int
    tells_segments: bool
    unknown_keys: tuple[str, ...] = ()

    @property
    def takes_instruction(self) -> bool:
        """Classifiers made of Qwen3 are conversions of Qwen3-Reranker, and take its prompt."""
        return self.model_type == "qwen3"


def read_reranker(folder: Path) -> RankLayout:
    """Read a reranker's folder.

    Raises:
        ModelError: it is none, or one that is not served, or a file is missing or broken.
    """
    try:
        return _read(folder)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(f"a JSON file in {folder} is not what it should be ({what})") from error


def _read(folder: Path) -> RankLayout:
    path = folder / "config.json"
    config = read_object(path)
    _refuse_embedding_models(folder)
    kind = _kind(folder, config)
    if kind == "classifier":
        _check_labels(folder, config)
    unknown = check_config(path, config, "reranking")
    model_type: str = config["model_type"]
    tokenizer = read_object(folder / "tokenizer_config.json", missing={})
    return RankLayout(
        kind,
        model_type,
        vocab_size=config["vocab_size"],
        max_tokens=_max_tokens(folder, config, tokenizer),
        tells_segments=model_type == "bert" and _has_segments(tokenizer),
        unknown_keys=unknown,
    )


def _refuse_embedding_models(folder: Path) -> None:
    modules = read_objects(folder / "modules.json")
    if any(str(module.get("type")).endswith(".Pooling") for module in modules):
        raise ModelError(
            f"{folder} holds an embedding model (its modules.json has a Pooling): serve it with "
            "--model; a reranker is, for example, Qwen/Qwen3-Reranker-0.6B"
        )


def _kind(folder: Path, config: dict[str, Any]) -> RankKind:
    model_type, architectures = config.get("model_type", ""), config.get("architectures")
    listed = architectures if isinstance(architectures, list) else []
    architecture = str(listed[0]) if listed else ""
    if model_type == "qwen3" and architecture == "Qwen3ForCausalLM":
        return "yes_no"
    served = model_types("reranking")
    if architecture.endswith("ForSequenceClassification") and model_type in served:
        return "classifier"
    raise ModelError(
        f"{folder} holds a {architecture or 'model'} of type {shown(model_type)}; served as "
        "rerankers are Qwen3ForCausalLM (Qwen3-Reranker), and ForSequenceClassification of "
        f"{', '.join(served)}"
    )


def _check_labels(folder: Path, config: dict[str, Any]) -> None:
    named = config.get("id2label")
    labels = len(named) if isinstance(named, dict) else config.get("num_labels", _DEFAULT_LABELS)
    if labels != 1:
        raise ModelError(f"{folder}: a classifier with {labels} labels; a reranker has one")


def _has_segments(tokenizer: dict[str, Any]) -> bool:
    """As transformers reads it: a tokenizer of BERT's own class has them unless it says not."""
    default = ["token_type_ids"] if "Bert" in tokenizer.get("tokenizer_class", "Bert") else []
    return "token_type_ids" in tokenizer.get("model_input_names", default)


def _max_tokens(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    positions: int = config["max_position_embeddings"]
    if config["model_type"] == "xlm-roberta":  # its first position comes after the padding's
        positions -= int(config.get("pad_token_id", 1)) + 1
    if (limit := tokenizer.get("model_max_length")) is not None:
        positions = min(
            positive(folder / "tokenizer_config.json", "model_max_length", limit), positions
        )
    return positions
