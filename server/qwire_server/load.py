"""From settings to a model that is loaded, warm and described. Blocks; runs in a thread."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from qwire_server import self_check
from qwire_server.api.served import MAX_MESSAGE_BYTES, Limits, Served
from qwire_server.checkpoint import fingerprint, layout, source
from qwire_server.checkpoint.size import weight_bytes
from qwire_server.engine.arithmetic import UNKNOWN, Arithmetic
from qwire_server.engine.queue.cost import CostModel, calibrate
from qwire_server.errors import ModelError, StartError
from qwire_server.settings.flags import words
from qwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from qwire_server.checkpoint.layout import Layout
    from qwire_server.checkpoint.progress import Progress
    from qwire_server.engine.runner import Runner
    from qwire_server.model.forward import Head
    from qwire_server.model.runner import PackedRunner
    from qwire_server.settings import Settings
    from qwire_server.text.encoder import Encoder

_LOG = logging.getLogger("qwire.server")
_BATCH_TOKENS = {"cuda": 16384, "cpu": 2048}  # where the device is full and a batch still short
# A CPU needs 15 ms for one paragraph, and batches of one paragraph waste more than half of it.
_LAUNCH_MS = {"cuda": 15.0, "cpu": 200.0}
# And at least so many forwards without a text, each of which takes `a`: in two batches, texts that
# take `b` are answered after 1.5 a + 0.75 b on average, in one after a + b, which is sooner while
# `b` is less than 2 a. A large model on a CPU needs more than 100 ms for any batch.
_LAUNCH_FORWARDS = 3
_PREFIX_BYTES = {"cuda": 0, "cpu": 256 * 2**20}  # on a GPU nothing shows yet that it pays
_REQUEST_BATCHES = 64
_STREAM_BATCHES = 4


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
    shape = layout.read(found.folder, settings.pooling)
    max_tokens = _max_tokens(settings, shape)
    tokenizer = Tokenizer.load(
        found.folder,
        vocab_size=shape.vocab_size,
        max_tokens=max_tokens,
        lower_case=shape.lower_case,
    )
    content = fingerprint.content_revision(found.folder)
    # These take seconds to import; a wrong --model is told before.
    from qwire_server.model import device as devices  # noqa: PLC0415
    from qwire_server.model import weights  # noqa: PLC0415
    from qwire_server.model.arithmetic import measured_peak  # noqa: PLC0415
    from qwire_server.model.pooling import pool  # noqa: PLC0415

    device = devices.choose_device(settings.device)
    dtype = devices.choose_dtype(settings.dtype, device)
    limits = limits_of(settings, device, max_tokens)
    dtype_name = str(dtype).removeprefix("torch.")
    needed = weight_bytes(found.folder, dtype.itemsize)
    devices.check_memory(device, dtype_name, needed, settings.memory_limit)
    _LOG.info("loading %s on %s in %s", found.model_id, device, dtype_name)
    peak = measured_peak(device, dtype)
    model = weights.load(found.folder, shape, device, dtype)
    head = partial(pool, pooling=shape.pooling)
    causal = shape.model_type == "qwen3" and shape.pooling == "last"
    runner = warm_runner(model, head, settings, limits.batch_tokens, causal=causal)
    checked = self_check.check(
        model,
        head,
        runner,
        tokenizer,
        prompt=shape.prompts.query,
        batch_tokens=limits.batch_tokens,
    )
    cost = calibrate(runner.seconds, longest=min(limits.batch_tokens, max_tokens))
    limits = worth_launching(limits, settings, cost)
    served = Served(
        model=found.model_id,
        revision=found.commit or content,
        fingerprint=fingerprint.fingerprint(
            content, shape, dtype=dtype_name, max_tokens=max_tokens
        ),
        languages=shape.languages,
        native_dimensions=shape.hidden_size,
        min_dimensions=shape.min_dimensions,
        max_tokens=max_tokens,
        pooling=shape.pooling,
        prompts=shape.prompts,
        device=devices.describe_device(device),
        dtype=dtype_name,
        limits=limits,
        aliases=words(settings.model_alias),
        checked=checked,
        peak_flops=peak,
    )
    seconds = time.monotonic() - began
    memory = devices.describe_memory(device, needed)
    arithmetic = arithmetic_of(model, causal=causal)
    return LoadedModel(served, tokenizer, runner, cost, seconds, memory, needed, arithmetic)


def _max_tokens(settings: Settings, shape: Layout) -> int:
    wanted = settings.max_tokens or shape.max_tokens
    if wanted > shape.max_tokens:
        raise ModelError(f"--max-tokens {wanted}: the model takes at most {shape.max_tokens}")
    return wanted


def arithmetic_of(model: PreTrainedModel, *, causal: bool) -> Arithmetic:
    """What forwards of a loaded model take; `causal` as for `warm_runner`."""
    from qwire_server.model import arithmetic  # noqa: PLC0415  takes seconds to import

    return Arithmetic(arithmetic.per_token(model), arithmetic.per_square(model, causal=causal))


def warm_runner(
    model: PreTrainedModel, head: Head, settings: Settings, batch_tokens: int, *, causal: bool
) -> PackedRunner:
    """A runner as the settings ask, compiled and warm.

    Args:
        model: on its device.
        head: what is read from its last hidden states.
        settings: of the server.
        batch_tokens: most tokens in one forward.
        causal: no token sees a later one, and `head` reads the last: beginnings may be kept.
    """
    from qwire_server.model.forward import make_forward  # noqa: PLC0415  takes seconds to import
    from qwire_server.model.runner import PackedRunner  # noqa: PLC0415

    forward = make_forward(
        model,
        head,
        compiled=settings.compile,
        # Which batches take a graph is measured at each start, so bits could change with it.
        graphs="off" if settings.deterministic else settings.cuda_graphs,
        batch_tokens=batch_tokens,
    )
    kept = _PREFIX_BYTES[model.device.type] if causal else 0
    if causal and settings.prefix_cache is not None:
        kept = settings.prefix_cache
    if settings.deterministic:  # the last bits would tell what was kept
        kept = 0
    runner = PackedRunner(model, head, kept, forward)
    runner.warm_up(batch_tokens)
    return runner


def worth_launching(limits: Limits, settings: Settings, cost: CostModel) -> Limits:
    """The same limits; unless the settings say how long a batch may be, some forwards at least."""
    if settings.launch_ms is not None:
        return limits
    least = _LAUNCH_FORWARDS * cost.forward() / 1000
    return replace(limits, launch_ms=max(limits.launch_ms, least))


def limits_of(settings: Settings, device: torch.device, max_tokens: int) -> Limits:
    """The limits of a server with a model that takes texts of so many tokens.

    Raises:
        StartError: one text may have more tokens than one request.
    """
    batch = settings.batch_tokens or _BATCH_TOKENS[device.type]
    request = settings.request_tokens or max(_REQUEST_BATCHES * batch, max_tokens)
    if request < max_tokens:
        raise StartError(
            f"--request-tokens {request}: one text may have {max_tokens} tokens; raise it, or "
            "lower --max-tokens"
        )
    return Limits(
        max_texts=settings.max_texts,
        max_text_bytes=settings.max_text_bytes,
        max_message_bytes=MAX_MESSAGE_BYTES,
        batch_tokens=batch,
        request_tokens=request,
        launch_ms=settings.launch_ms or _LAUNCH_MS[device.type],
        stream_tokens=settings.stream_tokens or _STREAM_BATCHES * batch,
    )
