"""From settings to a model that is loaded, warm and described. Blocks; runs in a thread."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from qwire_server.api.served import Served
from qwire_server.checkpoint import fingerprint, layout, source
from qwire_server.checkpoint.model_prompts import prompt_warnings
from qwire_server.checkpoint.weight_files import weight_files
from qwire_server.checkpoint.weight_hashes import WeightHashes
from qwire_server.engine.arithmetic import UNKNOWN, Arithmetic
from qwire_server.engine.queue.cost import CostModel
from qwire_server.errors import ModelError
from qwire_server.prepare import choose_place, make_ready, report_unknown_keys
from qwire_server.settings.flags import words
from qwire_server.text.reference import ReferenceTokenizer
from qwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from qwire_server.checkpoint.layout import Layout
    from qwire_server.checkpoint.progress import Progress
    from qwire_server.engine.runner import Runner
    from qwire_server.prepare import Place, Ready
    from qwire_server.settings import Settings
    from qwire_server.text.encoder import Encoder

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Everything that serving one model needs.

    Attributes:
        load_seconds: from the first file read to the warm model; a download before it not counted.
        memory: what it takes up now, in words.
        weight_bytes: of its weights on the device.
        arithmetic: what its forwards take.
    """

    served: Served
    tokenizer: Encoder
    runner: Runner
    cost: CostModel = field(default_factory=CostModel)
    load_seconds: float = 0.0
    memory: str = "memory not measured"
    weight_bytes: int = 0
    arithmetic: Arithmetic = UNKNOWN

    @classmethod
    def of(
        cls, served: Served, tokenizer: Encoder, place: Place, ready: Ready, seconds: float
    ) -> LoadedModel:
        """A model that took so long to make ready."""
        return cls(
            served,
            tokenizer,
            ready.runner,
            ready.cost,
            seconds,
            ready.memory,
            place.weight_bytes,
            ready.arithmetic,
        )


def load_model(settings: Settings, progress: Progress | None = None) -> LoadedModel:
    """Find, read, load and warm up the model.

    Args:
        settings: of the server.
        progress: told how a download goes.

    Raises:
        StartError: it cannot be served, or not as the settings ask; the message says what to do.
    """
    found = source.find(settings.model, settings.revision, settings.model_source, progress)
    began = time.monotonic()
    shape = layout.read(
        found.folder, settings.pooling, settings.query_prompt, settings.document_prompt
    )
    if settings.model != source.DEMO:  # it needs no prompts
        for told in prompt_warnings(shape.prompts, shape.model_type, settings.query_prompt):
            _LOG.warning("%s", told)
    max_tokens = _max_tokens(settings, shape)
    files = weight_files(found.folder)
    report_unknown_keys(found, shape.unknown_keys)
    # These take seconds to import; a wrong --model is named before, and a torch that is missing
    # here: transformers, which the tokenizer needs, would only warn of it.
    from qwire_server.model import weights  # noqa: PLC0415
    from qwire_server.model.pooling import pool  # noqa: PLC0415

    reference = ReferenceTokenizer.load(found.folder)
    tokenizer = Tokenizer.load(
        found.folder,
        vocab_size=shape.vocab_size,
        max_tokens=max_tokens,
        lower_case=shape.lower_case,
        config=reference.config,
    )
    reference.compare(tokenizer.plain_ids, shape.vocab_size)
    place = choose_place(settings, found, files, max_tokens)
    with WeightHashes(found.folder, files) as hashes:
        model = weights.load(found.folder, shape, place.device, place.dtype)
        # Not later: what is measured next must have the processor for itself.
        hashed = hashes.result()
    content = fingerprint.content_revision(found.folder, hashed, lower_case=shape.lower_case)
    head = partial(pool, pooling=shape.pooling)
    causal = shape.model_type == "qwen3" and shape.pooling == "last"
    prompt = shape.prompts.query
    ready = make_ready(settings, place, model, head, tokenizer, prompt=prompt, causal=causal)
    served = Served(
        model=found.model_id,
        revision=found.commit or content,
        fingerprint=fingerprint.fingerprint(
            content, shape, dtype=place.dtype_name, max_tokens=max_tokens
        ),
        languages=shape.languages,
        native_dimensions=shape.hidden_size,
        min_dimensions=shape.min_dimensions,
        max_tokens=max_tokens,
        pooling=shape.pooling,
        prompts=shape.prompts,
        device=place.description,
        dtype=place.dtype_name,
        limits=ready.limits,
        aliases=words(settings.model_alias),
        given=settings.model,
        checked=ready.checked,
        peak_flops=place.peak_flops,
        unknown_config_keys=shape.unknown_keys,
    )
    return LoadedModel.of(served, tokenizer, place, ready, time.monotonic() - began)


def _max_tokens(settings: Settings, shape: Layout) -> int:
    wanted = settings.max_tokens or shape.max_tokens
    if wanted > shape.max_tokens:
        raise ModelError(f"--max-tokens {wanted}: the model takes at most {shape.max_tokens}")
    return wanted
