"""A few texts through the serving path and through plain transformers, before anybody is served.

Finds what would give wrong vectors in silence: a kernel, a compiler, a driver or a version of a
library that does not fit. Knows no requests.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from qwire_server.api.served import Checked
from qwire_server.errors import InvalidRequest, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.model.forward import Head
    from qwire_server.model.runner import PackedRunner
    from qwire_server.text.encoded import Encoded
    from qwire_server.text.encoder import Encoder

_LOG = logging.getLogger("qwire.server")
# Of different lengths, but two; of several scripts. None may see another's tokens.
TEXTS = (
    "Rain",
    "The capital of China is Beijing.",
    "中国的首都是北京。",
    "Gravity is a force that attracts two bodies towards each other. " * 5,
    "Snow",
)
QUERY = "Which city is the capital of China?"  # that a reranker is asked
_FEW = 3  # of them, behind a prompt
_LEAST = {"float32": 0.99999}
_LEAST_OTHERWISE = 0.999  # of a dtype with 8 bits of precision, in any order of adding


def check(
    model: PreTrainedModel,
    head: Head,
    runner: PackedRunner,
    tokenizer: Encoder,
    *,
    prompt: str,
    batch_tokens: int,
) -> Checked:
    """Compare the runner with the model run by transformers, unpacked, in its own dtype.

    Args:
        model: that the runner runs.
        head: of the runner.
        runner: as it will serve: compiled, captured, with its prefixes.
        tokenizer: of the model.
        prompt: that questions have before them; it is what prefixes are made of.
        batch_tokens: most tokens in one forward; on a GPU one such is checked too.

    Raises:
        ModelError: they differ; the message tells by how much, and what to do.
    """
    from qwire_server.model.unpacked import unpacked_rows  # noqa: PLC0415  imports torch

    began = time.monotonic()
    encoded = _encoded(tokenizer, prompt)
    expected = unpacked_rows(model, head, encoded.ids)
    _refuse_not_finite(expected, str(model.dtype).removeprefix("torch."))
    lowest = min(_agreement(rows, expected) for rows in _served(runner, encoded, batch_tokens))
    dtype = str(model.dtype).removeprefix("torch.")
    checked = Checked(lowest, len(TEXTS), dtype)
    least = _LEAST.get(dtype, _LEAST_OTHERWISE)
    if not lowest >= least:  # NaN too
        raise ModelError(
            f"self-check: packed as it is served, the model differs from itself run one text at a "
            f"time by transformers: lowest cosine {lowest:.6f} of {len(TEXTS)} texts in {dtype}, "
            f"at least {least} is needed; try --compile off and --cuda-graphs off, then "
            "--device cpu, and report which of them helps"
        )
    took = time.monotonic() - began
    _LOG.info("self-check: lowest cosine %.7f of %d texts, %.2f s", lowest, len(TEXTS), took)
    return checked


def _refuse_not_finite(expected: NDArray[np.float32], dtype: str) -> None:
    """No way to run the model is to blame if transformers itself gets NaN from sound weights."""
    if not np.isfinite(expected).all():
        hint = "" if dtype == "float32" else "try --dtype float32; otherwise "
        raise ModelError(
            f"self-check: the model itself gives NaN or infinity in {dtype}, also when it is run "
            f"by transformers one text at a time: {hint}its weights or its config.json are wrong"
        )


def _served(
    runner: PackedRunner, encoded: Encoded, batch_tokens: int
) -> Iterator[NDArray[np.float32]]:
    """Rows of the texts, or of the first of them, by each way that a batch may take."""
    ids = encoded.ids
    yield runner.launch(ids).wait().rows
    if runner.keeps_prefixes:
        # A prefix is computed by the first batch that has it, kept by the second, then used.
        for _ in range(3):
            yield runner.launch(ids[:_FEW], [encoded.shared] * _FEW).wait().rows
    if runner.runs_ahead:  # a full batch takes another way, and costs a GPU nothing
        times = max(1, batch_tokens // sum(encoded.tokens))
        rows = runner.launch(ids * times).wait().rows
        yield from np.split(rows, times)


def _encoded(tokenizer: Encoder, prompt: str) -> Encoded:
    """The texts behind the prompt, or without it where a text may not have so many tokens."""
    try:
        return tokenizer.encode(TEXTS, prompt)
    except InvalidRequest:
        return tokenizer.encode(TEXTS, "")


def _agreement(rows: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The lowest cosine of a row and what it should be; of scores, that of all of them together."""
    ours, theirs = rows.astype(np.float64), expected[: len(rows)].astype(np.float64)
    if theirs.shape[1] == 1:  # one score has no direction
        ours, theirs = ours.T, theirs.T
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / lengths).min())
