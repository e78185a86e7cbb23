"""From settings to a reranker that is loaded, warm and described. Blocks; runs in a thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server import self_check
from qwire_server.api.served import Served
from qwire_server.checkpoint import fingerprint, rank_layout, source
from qwire_server.checkpoint.model_prompts import Prompts
from qwire_server.checkpoint.weight_files import weight_files
from qwire_server.checkpoint.weight_hashes import WeightHashes
from qwire_server.errors import ModelError
from qwire_server.load import LoadedModel
from qwire_server.prepare import choose_place, make_ready, report_unknown_keys
from qwire_server.settings.flags import words
from qwire_server.text.pair_tokenizer import PairTokenizer
from qwire_server.text.pairs import QWEN_INSTRUCTION, PairPrompt
from qwire_server.text.reference import ReferenceTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwire_server.checkpoint.progress import Progress
    from qwire_server.checkpoint.rank_layout import RankLayout
    from qwire_server.model.forward import Head
    from qwire_server.prepare import Place
    from qwire_server.settings import Settings

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
    files = weight_files(found.folder)
    report_unknown_keys(found, layout.unknown_keys)
    reference = ReferenceTokenizer.load(found.folder)
    tokenizer = PairTokenizer.load(
        found.folder,
        vocab_size=layout.vocab_size,
        max_tokens=max_tokens,
        takes_instruction=layout.takes_instruction,
        config=reference.config,
    )
    reference.compare(tokenizer.plain_ids, layout.vocab_size)
    place = choose_place(settings, found, files, max_tokens, taken)
    with WeightHashes(found.folder, files) as hashes:
        model, head = _load(found.folder, files, layout, tokenizer, place)
        hashed = hashes.result()
    content = fingerprint.content_revision(found.folder, hashed, lower_case=False)
    ready = make_ready(
        settings,
        place,
        model,
        head,
        tokenizer,
        prompt=prompt.before_document(self_check.QUERY, None),
        causal=layout.model_type == "qwen3",  # and its head reads the last token
    )
    served = Served(
        model=found.model_id,
        revision=found.commit or content,
        fingerprint=fingerprint.rank_fingerprint(
            content, dtype=place.dtype_name, max_tokens=max_tokens, instruction=prompt.instruction
        ),
        languages=(),
        native_dimensions=1,
        min_dimensions=1,
        max_tokens=max_tokens,
        pooling="",
        prompts=Prompts(),
        device=place.description,
        dtype=place.dtype_name,
        limits=ready.limits,
        aliases=words(settings.model_alias),
        given=settings.reranker,
        checked=ready.checked,
        peak_flops=place.peak_flops,
        unknown_config_keys=layout.unknown_keys,
    )
    loaded = LoadedModel.of(served, tokenizer, place, ready, time.monotonic() - began)
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
    files: Sequence[Path],
    layout: RankLayout,
    tokenizer: PairTokenizer,
    place: Place,
) -> tuple[PreTrainedModel, Head]:
    from qwire_server.model import rank_heads, weights  # noqa: PLC0415  takes seconds to import

    if layout.kind == "yes_no":
        answers = tokenizer.yes_no_ids()
        model = weights.load(folder, layout, place.device, place.dtype)
        return model, rank_heads.YesNo(weights.output_rows(files, model, answers))
    classifier = weights.load_classifier(folder, place.device, place.dtype)
    separator = tokenizer.frame.middle[-1] if layout.tells_segments else None
    return rank_heads.take_apart(classifier, separator)
