"""From hidden states to one score a sequence: the log-odds of "this document is the right one".

Only these are computed, never a vocabulary of logits. Scores are computed in fp32 whatever the
model's dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel


class YesNo:
    """logit(yes) - logit(no) of the last token.

    Args:
        rows: (2, hidden) of the output embedding: those of "yes" and "no".
    """

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows.float()

    def __call__(self, hidden: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Log-odds, (n, 1) float32."""
        logits = hidden[offsets[1:].long() - 1].float() @ self._rows.T
        return logits[:, :1] - logits[:, 1:]


class Classifier:
    """The one logit of a classifier, from its first or its last token.

    Args:
        layers: from (n, hidden) float32 to (n, 1).
        last: whether the last token is read, else the first.
    """

    def __init__(self, layers: Callable[[torch.Tensor], torch.Tensor], *, last: bool) -> None:
        self._layers = layers
        self._last = last

    def __call__(self, hidden: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Logits, (n, 1) float32."""
        at = offsets[1:].long() - 1 if self._last else offsets[:-1].long()
        return self._layers(hidden[at].float())


def take_apart(model: Any, separator: int | None) -> tuple[PreTrainedModel, Classifier]:
    """Encoder and head of a loaded `...ForSequenceClassification`.

    Args:
        model: of one of the types that `checkpoint.rank_layout` lets through.
        separator: the id between query and document, for models that tell the two apart.
    """
    kind = model.config.model_type
    encoder = model.base_model
    if kind == "qwen3":
        return encoder, Classifier(model.score.float(), last=True)
    if kind == "xlm-roberta":
        first = int(model.config.pad_token_id) + 1
        encoder.register_forward_pre_hook(_shift_positions(first), with_kwargs=True)
        head = model.classifier.float()
        return encoder, Classifier(lambda rows: head(rows[:, None]), last=False)
    pooler, last_layer = encoder.pooler.float(), model.classifier.float()
    encoder.pooler = None  # it would run on the first token of the whole pack
    if model.config.type_vocab_size > 1 and separator is not None:
        encoder.register_forward_pre_hook(_tell_segments(separator), with_kwargs=True)
    return encoder, Classifier(lambda rows: last_layer(pooler(rows[:, None])), last=False)


def _shift_positions(first: int) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """XLM-R counts positions from behind the padding's."""

    def hook(_: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "position_ids": kwargs["position_ids"] + first}

    return hook


def _tell_segments(separator: int) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """BERT is told which tokens are the document's."""

    def hook(_: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        segments = segments_of(kwargs["input_ids"][0], kwargs["offsets"], separator)
        return args, {**kwargs, "token_type_ids": segments}

    return hook


def segments_of(ids: torch.Tensor, offsets: torch.Tensor, separator: int) -> torch.Tensor:
    """0 up to the first separator of each sequence, itself included, 1 after it; (1, T) int64."""
    ends = ids == separator
    before = ends.long().cumsum(0) - ends.long()  # separators before each token, in the whole pack
    lengths = offsets.diff().long()
    at_start = torch.repeat_interleave(
        before[offsets[:-1].long()], lengths, output_size=len(before)
    )
    return (before - at_start).clamp(max=1)[None]
