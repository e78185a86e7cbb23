"""From settings to a reranker that is loaded, warm and described. Blocks; runs in a thread."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server import self_check
from qwire_server.api.served import Served
from qwire_server.checkpoint import fingerprint, rank_layout, source
from qwire_server.checkpoint.layout import Prompts
from qwire_server.checkpoint.size import weight_bytes
from qwire_server.engine.queue.cost import calibrate
from qwire_server.errors import ModelError
from qwire_server.load import LoadedModel, arithmetic_of, limits_of, warm_runner, worth_launching
from qwire_server.settings.flags import words
from qwire_server.text.pair_tokenizer import PairTokenizer, yes_no_ids
from qwire_server.text.pairs import QWEN_INSTRUCTION, PairPrompt

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from qwire_server.checkpoint.progress import Progress
    from qwire_server.checkpoint.rank_layout import RankLayout
    from qwire_server.model.forward import Head
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")
_MAX_TOKENS = 8192  # the model card of Qwen3-Reranker; its positions would allow 40,960


@dataclass(frozen=True, slots=True)
class LoadedReranker:
    """Everything that serving a reranker needs."""

    loaded: LoadedModel
    prompt: PairPrompt


def load_reranker(
    settings: Settings, progress: Progress | None = None, taken: int = 0
) -> LoadedReranker:
    """Find, read, load and warm up the reranker.

    Args:
        settings: of the server.
        progress: told how a download goes.
        taken: bytes of weights that the embedding model has on the device.

    Raises:
        StartError: it cannot be served, or not as the settings ask; the message says what to do.
    """
    assert settings.reranker is not None
    found = source.find(
        settings.reranker,
        settings.reranker_revision,
        settings.model_source,
        progress,
        flag="--reranker",
    )
    began = time.monotonic()
    layout = rank_layout.read_reranker(found.folder)
    max_tokens = _max_tokens(settings, layout)
    prompt = PairPrompt(QWEN_INSTRUCTION if layout.takes_instruction else "")
    tokenizer = PairTokenizer.load(
        found.folder,
        vocab_size=layout.vocab_size,
        max_tokens=max_tokens,
        takes_instruction=layout.takes_instruction,
    )
    content = fingerprint.content_revision(found.folder)
    # These take seconds to import; a wrong --reranker is told before.
    from qwire_server.model import device as devices  # noqa: PLC0415
    from qwire_server.model.arithmetic import measured_peak  # noqa: PLC0415

    device = devices.choose_device(settings.device)
    dtype = devices.choose_dtype(settings.dtype, device)
    dtype_name = str(dtype).removeprefix("torch.")
    limits = limits_of(settings, device, max_tokens)
    needed = weight_bytes(found.folder, dtype.itemsize)
    devices.check_memory(device, dtype_name, needed, settings.memory_limit, taken=taken)
    _LOG.info("loading %s on %s in %s", found.model_id, device, dtype_name)
    peak = measured_peak(device, dtype)
    model, head = _load(found.folder, layout, tokenizer, device, dtype)
    causal = layout.model_type == "qwen3"  # and its head reads the last token
    runner = warm_runner(model, head, settings, limits.batch_tokens, causal=causal)
    checked = self_check.check(
        model,
        head,
        runner,
        tokenizer,
        prompt=prompt.before_document(self_check.QUERY, None),
        batch_tokens=limits.batch_tokens,
    )
    cost = calibrate(runner.seconds, longest=min(limits.batch_tokens, max_tokens))
    limits = worth_launching(limits, settings, cost)
    served = Served(
        model=found.model_id,
        revision=found.commit or content,
        fingerprint=fingerprint.rank_fingerprint(
            content, dtype=dtype_name, max_tokens=max_tokens, instruction=prompt.instruction
        ),
        languages=(),
        native_dimensions=1,
        min_dimensions=1,
        max_tokens=max_tokens,
        pooling="",
        prompts=Prompts(),
        device=devices.describe_device(device),
        dtype=dtype_name,
        limits=limits,
        aliases=words(settings.model_alias),
        checked=checked,
        peak_flops=peak,
    )
    loaded = LoadedModel(
        served,
        tokenizer,
        runner,
        cost,
        load_seconds=time.monotonic() - began,
        memory=devices.describe_memory(device, needed),
        weight_bytes=needed,
        arithmetic=arithmetic_of(model, causal=causal),
    )
    return LoadedReranker(loaded, prompt)


def _max_tokens(settings: Settings, layout: RankLayout) -> int:
    wanted = settings.reranker_max_tokens or min(_MAX_TOKENS, layout.max_tokens)
    if wanted > layout.max_tokens:
        raise ModelError(
            f"--reranker-max-tokens {wanted}: the reranker takes at most {layout.max_tokens}"
        )
    return wanted


def _load(
    folder: Path,
    layout: RankLayout,
    tokenizer: PairTokenizer,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[PreTrainedModel, Head]:
    from qwire_server.model import rank_heads, weights  # noqa: PLC0415  torch, as above

    if layout.kind == "yes_no":
        answers = yes_no_ids(folder)
        model = weights.load(folder, layout, device, dtype)
        return model, rank_heads.YesNo(weights.output_rows(folder, model, answers))
    classifier = weights.load_classifier(folder, device, dtype)
    separator = tokenizer.frame.middle[-1] if layout.tells_segments else None
    return rank_heads.take_apart(classifier, separator)
