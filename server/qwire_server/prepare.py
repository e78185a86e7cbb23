"""What embedding models and rerankers have in common between a folder and the first request.

A place on a device is chosen before the weights are read; there the model is made warm, checked
and timed. Blocks; runs in a thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qwire_server import self_check
from qwire_server.api.served import MAX_MESSAGE_BYTES, Limits
from qwire_server.checkpoint.weight_files import weight_bytes
from qwire_server.engine.arithmetic import Arithmetic
from qwire_server.engine.queue.cost import calibrate
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from qwire_server.api.served import Checked
    from qwire_server.checkpoint.source import Source
    from qwire_server.engine.queue.cost import CostModel
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
class Place:
    """Where a model is to run, and what it takes there.

    Attributes:
        description: of the device, for people.
        max_tokens: of one text.
        limits: of requests and batches there; see `worth_launching`.
        weight_bytes: of its weights on the device.
        peak_flops: as of `Served`.
    """

    device: torch.device
    description: str
    dtype: torch.dtype
    dtype_name: str
    max_tokens: int
    limits: Limits
    weight_bytes: int
    peak_flops: float


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that is warm, and what was found out about it.

    Attributes:
        memory: what it takes up now, in words.
    """

    runner: PackedRunner
    checked: Checked
    cost: CostModel
    limits: Limits
    arithmetic: Arithmetic
    memory: str


def choose_place(
    settings: Settings, found: Source, files: Sequence[Path], max_tokens: int, taken: int = 0
) -> Place:
    """The device and dtype for a model that takes texts of so many tokens.

    Args:
        settings: of the server.
        found: the model.
        files: files of its weights.
        max_tokens: of one text.
        taken: bytes of weights that another model has on the device.

    Raises:
        StartError: there is no such device, or no room on it.
    """
    # These take seconds to import.
    from qwire_server.model import device as devices  # noqa: PLC0415
    from qwire_server.model.arithmetic import measured_peak  # noqa: PLC0415

    device = devices.choose_device(settings.device)
    dtype = devices.choose_dtype(settings.dtype, device)
    limits = limits_of(settings, device, max_tokens)
    needed = weight_bytes(files, dtype.itemsize)
    name = str(dtype).removeprefix("torch.")
    devices.check_memory(device, name, needed, settings.memory_limit, taken=taken)
    _LOG.info("loading %s on %s in %s", found.model_id, device, name)
    description, peak = devices.describe_device(device), measured_peak(device, dtype)
    return Place(device, description, dtype, name, max_tokens, limits, needed, peak)


def report_unknown_keys(found: Source, keys: Sequence[str]) -> None:
    """Warn once of what a config.json says that nobody here understands."""
    if keys:
        _LOG.warning(
            "config.json of %s has keys that are not known and are ignored: %s; if one of them "
            "changes the model's forward pass, its vectors or scores are wrong",
            found.model_id,
            ", ".join(keys),
        )


def make_ready(
    settings: Settings,
    place: Place,
    model: PreTrainedModel,
    head: Head,
    tokenizer: Encoder,
    *,
    prompt: str,
    causal: bool,
) -> Ready:
    """Compile and warm up what will serve, check it, and learn what it costs.

    Args:
        settings: of the server.
        place: where the model is.
        model: on its device.
        head: what is read from its last hidden states.
        tokenizer: of the model.
        prompt: that questions have before them.
        causal: no token sees a later one, and `head` reads the last: beginnings may be kept.

    Raises:
        StartError: it would give wrong vectors.
    """
    from qwire_server.model import arithmetic, device  # noqa: PLC0415  seconds, as above

    batch_tokens = place.limits.batch_tokens
    runner = _warm_runner(model, head, settings, batch_tokens, causal=causal)
    checked = self_check.check(
        model, head, runner, tokenizer, prompt=prompt, batch_tokens=batch_tokens
    )
    cost = calibrate(runner.seconds, longest=min(batch_tokens, place.max_tokens))
    return Ready(
        runner,
        checked,
        cost,
        worth_launching(place.limits, settings, cost),
        Arithmetic(arithmetic.per_token(model), arithmetic.per_square(model, causal=causal)),
        device.describe_memory(place.device, place.weight_bytes),
    )


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


def worth_launching(limits: Limits, settings: Settings, cost: CostModel) -> Limits:
    """The same limits; unless the settings say how long a batch may be, some forwards at least."""
    if settings.launch_ms is not None:
        return limits
    least = _LAUNCH_FORWARDS * cost.forward() / 1000
    return replace(limits, launch_ms=max(limits.launch_ms, least))


def _warm_runner(
    model: PreTrainedModel, head: Head, settings: Settings, batch_tokens: int, *, causal: bool
) -> PackedRunner:
    from qwire_server.model.forward import make_forward  # noqa: PLC0415  seconds, as above
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
