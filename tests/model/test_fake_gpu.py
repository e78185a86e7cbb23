"""What runs on a GPU, run without one, on tensors without content (`support.fake_gpu`).

It cannot say what is computed, nor how fast: `test_gpu.py` does, where there is a GPU.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    Qwen3Config,
    XLMRobertaConfig,
)

from qwire_server.model import attention
from qwire_server.model.attention import attend_varlen, varlen_kernel
from qwire_server.model.errors import DeviceLost
from qwire_server.model.forward import Forward
from qwire_server.model.graphed import GraphedForward
from qwire_server.model.on_stream import OnStream
from qwire_server.model.opaque import OpaqueForward, attend_packed
from qwire_server.model.packing import pack
from qwire_server.model.pooling import pool
from qwire_server.model.prefix import Prefix
from qwire_server.model.rank_heads import YesNo, take_apart
from qwire_server.model.runner import PackedRunner
from support.fake_gpu import (
    GPU,
    NO_CONTENT,
    Watched,
    indexing,
    move,
    stand_in,
    strict_kernel,
    there,
)

SMALL: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_labels": 1,
    "attn_implementation": attention.NAME,
}
CONFIGS = {
    "qwen3": Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=128, pad_token_id=0),
    "bert": BertConfig(**SMALL),
    "xlm-r": XLMRobertaConfig(**SMALL, pad_token_id=1),
}
KINDS = ["qwen3 last", "bert mean", "bert cls", "qwen3 yes-no"]
KINDS += [f"{name} classifier" for name in CONFIGS]
TEXTS = [np.arange(length, dtype=np.int32) for length in (9, 5, 9)]
WITHOUT_PREFIX, COMPUTED, KEPT = "no prefix", "a prefix that it computes", "a prefix that is kept"


@pytest.fixture(autouse=True)
def no_gpu_but_its_tensors(monkeypatch: pytest.MonkeyPatch):
    extra = varlen_kernel()[1]
    monkeypatch.setattr(attention, "varlen_kernel", lambda: (strict_kernel, extra))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with NO_CONTENT, indexing(), torch.inference_mode():
        yield


def load(kind: str) -> tuple[Any, Any]:
    """Model and head, in bf16; made real, and then moved."""
    name, head = kind.split()
    attention.register()
    auto = AutoModelForSequenceClassification if head == "classifier" else AutoModel
    model = auto.from_config(CONFIGS[name], dtype=torch.bfloat16).eval()
    modules = list(model.modules())
    if head == "classifier":
        model, read = take_apart(model, separator=3)
    elif head == "yes-no":
        read = YesNo(there(torch.zeros(2, 64)))
    else:
        model.pooler = None  # `weights.load` loads none
        read = partial(pool, pooling=head)
    move(modules)
    return model, read


@pytest.fixture(scope="module", params=KINDS)
def loaded(request) -> tuple[Any, Any]:
    return load(request.param)


@pytest.fixture(scope="module")
def qwen3() -> tuple[Any, Any]:
    return load("qwen3 last")


def prefix(how: str) -> Prefix | None:
    """What all of `TEXTS` begin with."""
    if how == WITHOUT_PREFIX:
        return None
    kept = [(torch.empty(4, 2, 128, dtype=torch.bfloat16, device=GPU),) * 2] * 2
    return Prefix(TEXTS[0][:4], [0, 1, 2], kept if how == KEPT else None, keeps=how == COMPUTED)


@pytest.mark.parametrize("how", [WITHOUT_PREFIX, COMPUTED, KEPT])
def test_the_kernel_takes_what_this_torch_calls_it_with(how):
    packed = pack(TEXTS, GPU, prefix(how))
    tokens = packed.ids.shape[1]
    keys = len(packed.keys.rows) if packed.keys else tokens
    query, key = (
        torch.empty(length, heads, 128, dtype=torch.bfloat16, device=GPU)
        for length, heads in ((tokens, 4), (keys, 2))
    )
    with Watched() as watched:
        rows = attend_varlen(query, key, key, packed, causal=True, scale=0.1)
    assert (rows.shape, rows.dtype, rows.device) == (query.shape, query.dtype, query.device)
    assert not watched.on_host + watched.log


@pytest.mark.parametrize("way", [Forward, OpaqueForward])
def test_a_forward_asks_the_device_for_no_value_and_mixes_no_devices(loaded, way):
    packed = pack(TEXTS, GPU)
    forward = way(*loaded)
    with Watched() as watched:
        rows = forward(packed)
    assert (rows.dtype, rows.device, len(rows)) == (torch.float32, GPU, len(TEXTS))
    assert not watched.on_host + watched.log


@pytest.mark.parametrize("how", [COMPUTED, KEPT])
def test_nor_does_one_with_a_prefix(qwen3, how):
    packed = pack(TEXTS, GPU, prefix(how))
    with Watched() as watched:
        rows = Forward(*qwen3)(packed)
    assert len(rows) == len(TEXTS) + (how == COMPUTED)
    computed = [tensor for layer in packed.keys.prefix.computed for tensor in layer]
    assert [t.shape for t in computed] == [(4, 2, 128)] * (4 if how == COMPUTED else 0)
    assert not watched.on_host + watched.log


def test_nor_what_is_captured_and_what_is_done_around_a_replay(loaded):
    """A capture that waits for the device fails, and so would one that copies from the host."""
    packed = pack(TEXTS, GPU)
    graphs = SimpleNamespace(capture=lambda run: run, bytes=lambda: 0)  # runs it at each replay
    graphed = GraphedForward(OpaqueForward(*loaded), GPU, 64, graphs)
    with Watched() as watched:
        rows = graphed(packed)
    assert repr(graphed) == "<GraphedForward [64] 0 MiB>"
    assert len(rows) == len(TEXTS)
    assert not watched.on_host + watched.log


def test_a_launch_waits_for_nothing_and_marks_the_end_of_each_copy(qwen3, monkeypatch):
    """Three with a prefix: computed, computed and kept, found. The fourth needs a buffer again."""
    with Watched() as watched:
        stand_in(monkeypatch, watched.log)
        runner = PackedRunner(*qwen3, prefix_bytes=2**20)
        began = ["records"]
        copied = ["copies", "records"]
        for _ in range(3):
            runner.launch(TEXTS, [4] * len(TEXTS))
        assert watched.log == [*began, *copied, *copied, "records"] * 3
        assert len(runner._prefixes._kept) == 1
        del watched.log[:]
        runner.launch(TEXTS)
        assert watched.log == [*began, "waits for an event", *copied, *copied, "records"]


def test_a_device_that_is_lost_while_rows_come_back_is_told_as_lost(monkeypatch):
    """By whatever ran beside them: no text of theirs is to blame."""

    def wait() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    stand_in(monkeypatch, [])
    launched = OnStream(GPU, lambda: SimpleNamespace(wait=wait), [])
    with pytest.raises(DeviceLost):
        launched.wait()


def test_the_operator_gives_what_its_shape_function_told_the_compiler():
    """Of a query that is not contiguous, too."""
    query, key = (
        torch.empty(heads, 23, 128, dtype=torch.bfloat16, device=GPU).transpose(0, 1)
        for heads in (4, 2)
    )
    with Watched():  # compares
        rows = attend_packed(query, key, key, pack(TEXTS, GPU).offsets, 9, True, None)
    assert rows.is_contiguous()


@pytest.mark.parametrize(
    ("asks", "found"),
    [
        (lambda numbers: numbers.tolist(), "_local_scalar_dense"),
        (lambda numbers: bool(numbers.max() > 1), "_local_scalar_dense"),
        (lambda numbers: numbers[numbers > 0], "nonzero|not linked"),
        (lambda numbers: numbers.repeat_interleave(numbers), "repeat_interleave"),
        (lambda numbers: numbers + torch.ones(3), "two (different )?devices"),
    ],
)
def test_what_asks_for_a_value_or_mixes_devices_is_found(asks, found):
    with pytest.raises(RuntimeError, match=found):
        asks(torch.empty(3, dtype=torch.int64, device=GPU))


@pytest.mark.parametrize(
    ("does", "found"),
    [
        (lambda rows: rows.cpu(), "waits for"),
        (lambda rows: torch.zeros(3).copy_(rows), "waits for"),
        (lambda rows: torch.zeros(3).copy_(rows, non_blocking=True), "copies"),
        (lambda rows: rows * torch.tensor(2.0), "waits for"),
    ],
)
def test_what_comes_from_the_host_or_goes_there_is_found(does, found):
    with Watched() as watched:
        does(torch.ones(3, device=GPU))
    assert [each.split(" aten")[0] for each in watched.log] == [found]
