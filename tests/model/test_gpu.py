"""The execution path on a GPU, for `pytest -m gpu tests/model`: what a lent one is asked first.

A model of the true shape, cut to four layers, with random weights; its reference is the same model
in fp32 on the same GPU, through SDPA.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3Model

from qwire_server.model import attention
from qwire_server.model.buckets import BUCKETS, Slots, choose
from qwire_server.model.errors import OutOfMemory
from qwire_server.model.forward import Forward, make_forward
from qwire_server.model.graphed import GraphedForward
from qwire_server.model.opaque import OpaqueForward
from qwire_server.model.packing import Packed, pack
from qwire_server.model.pooling import pool
from qwire_server.model.runner import PackedRunner
from qwire_server.model.staging import Staging

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.timeout(300),  # the first of them compiles
    pytest.mark.filterwarnings("ignore"),  # the compiler and its tools have theirs
]

HEAD = partial(pool, pooling="last")
VOCAB = 2000
BATCH_TOKENS = 8192
# One of each bucket and beyond, alone and in company; a lone token; more texts than slots.
PACKINGS = [
    [1],
    [2],
    [7] * 8,
    [30],
    [16] * 3 + [50],
    [128, 100],
    [500],
    [64] * 15,
    list(range(1, 60)),
    [2048],
    [512] * 7 + [400],
    [512] * 16,
    [8192],
]


@pytest.fixture(scope="module")
def device() -> torch.device:
    return torch.device("cuda", 0)


@pytest.fixture(scope="module")
def exact(device) -> Qwen3Model:
    """In fp32, on the GPU."""
    attention.register()
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=1024,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        max_position_embeddings=32768,
        attn_implementation=attention.NAME,
    )
    torch.manual_seed(0)
    model = Qwen3Model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02)
    return model.to(device).eval()


@pytest.fixture(scope="module")
def half(exact, device) -> Qwen3Model:
    """The same weights in bf16."""
    model = Qwen3Model(exact.config)
    model.load_state_dict(exact.state_dict())
    return model.to(device, torch.bfloat16).eval()


@pytest.fixture(scope="module")
def compiled(half) -> OpaqueForward:
    made = make_forward(half, HEAD, compiled="on", graphs="off", batch_tokens=BATCH_TOKENS)
    assert type(made).__name__ == "CompiledForward", "see the warning in the log"
    return made


@pytest.fixture(scope="module")
def graphed(compiled, device) -> GraphedForward:
    """With every bucket, whether it is faster or not."""
    from qwire_server.model.cuda_graphs import CudaGraphs  # noqa: PLC0415  needs a GPU

    return GraphedForward(compiled, device, BATCH_TOKENS, CudaGraphs(device))


@pytest.fixture(scope="module")
def runner(half, graphed) -> PackedRunner:
    made = PackedRunner(half, HEAD, forward=graphed)
    made.warm_up(BATCH_TOKENS)
    return made


def texts(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, VOCAB, n).astype(np.int32) for n in lengths]


def batch(lengths: list[int], device: torch.device, seed: int = 0) -> Packed:
    with torch.inference_mode():
        return pack(texts(lengths, seed), device)


def worst_cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    assert torch.isfinite(a).all()
    return float(torch.cosine_similarity(a.double(), b.double()).min())


@pytest.mark.parametrize("way", ["packed kernel", "twin", "compiled", "graphed"])
def test_every_way_in_bf16_equals_fp32(way, exact, half, compiled, graphed, device):
    forward = {
        "packed kernel": Forward(half, HEAD),
        "twin": OpaqueForward(half, HEAD),
        "compiled": compiled,
        "graphed": graphed,
    }[way]
    reference = Forward(exact, HEAD)
    for seed, lengths in enumerate(PACKINGS):
        packed = batch(lengths, device, seed)
        with torch.inference_mode():
            cosine = worst_cosine(forward(packed), reference(packed))
        assert cosine >= 0.999, (lengths[:3], len(lengths))


def test_in_fp32_a_gpu_equals_the_cpu_and_does_not_compile(exact, device):
    made = make_forward(exact, HEAD, compiled="on", graphs="auto", batch_tokens=BATCH_TOKENS)
    assert type(made) is Forward
    there = batch([3, 40, 9], device)
    here = batch([3, 40, 9], torch.device("cpu"))
    with torch.inference_mode():
        rows = made(there).cpu()
        reference = Forward(exact.cpu(), HEAD)(here)
        exact.to(device)
    assert worst_cosine(rows, reference) >= 0.99999


def test_nothing_is_compiled_after_the_start(compiled, device):
    """But for a lone token, which a graph takes, every packing runs in what is compiled."""
    with torch.compiler.set_stance("fail_on_recompile"):
        for seed, lengths in enumerate(PACKINGS[1:]):
            packed = batch(lengths, device, seed)
            tensors = (packed.ids, packed.positions, packed.offsets)
            OpaqueForward.rows(compiled, *tensors, packed.max_length)
    torch.cuda.synchronize()


def test_a_graph_gives_the_bits_of_the_compiled_forward_in_the_same_bucket(
    compiled, graphed, device
):
    for seed, lengths in enumerate(PACKINGS):
        bucket = choose(BUCKETS, sum(lengths), len(lengths))
        if bucket is None:
            continue
        packed = batch(lengths, device, seed)
        slots = Slots(bucket, device)
        slots.fill(packed)
        alone = compiled.rows(slots.ids, slots.positions, slots.offsets, bucket.tokens)
        assert torch.equal(graphed(packed), alone[: len(lengths)]), lengths


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_other_poolings_are_captured_too(half, device, pooling):
    """Their kernels must not wait for the host, and find a token in every slot."""
    from qwire_server.model.cuda_graphs import CudaGraphs  # noqa: PLC0415  needs a GPU

    plain = OpaqueForward(half, partial(pool, pooling=pooling))
    graphed = GraphedForward(plain, device, 128, CudaGraphs(device))
    for lengths in ([5], [20, 30], [100]):
        packed = batch(lengths, device)
        assert worst_cosine(graphed(packed), plain(packed)) >= 0.999


def test_the_cross_over_is_measured_and_told(half, caplog):
    with caplog.at_level("INFO", logger="qwire.server"):
        made = make_forward(half, HEAD, compiled="auto", graphs="auto", batch_tokens=BATCH_TOKENS)
    assert type(made) is GraphedForward, caplog.text
    assert "ms by the graph for 64" in caplog.text
    assert " MiB>" in caplog.text


def test_batches_in_flight_do_not_touch_each_other(runner):
    """Eight launched before the first is waited for; each gives what it gives alone."""
    wanted = [texts(lengths, seed) for seed, lengths in enumerate(PACKINGS[:8])]
    alone = [runner.run(each) for each in wanted]
    flying = [runner.launch(each) for each in wanted]
    for launched, rows in zip(flying, alone, strict=True):
        assert np.array_equal(launched.wait().rows, rows)


def test_a_launch_returns_before_the_device_is_done(runner):
    """Eight batches that take milliseconds each: the last is not done as its launch returns."""
    big = texts([512] * 16)
    runner.run(big)
    flying = [runner.launch(big) for _ in range(8)]
    assert not flying[-1]._ended.query()
    ran = [each.wait() for each in flying]
    assert all(each.seconds > 0 for each in ran)
    assert [each.ended for each in ran] == sorted(each.ended for each in ran)


def test_pinned_memory_is_pinned_and_used_again(device):
    staging = Staging(device)
    packed = pack(texts([5, 9]), torch.device("cpu"))
    staged = staging.stage(packed)
    assert torch.equal(staged.ids.cpu(), packed.ids)
    assert torch.equal(staged.offsets.cpu(), packed.offsets)
    rows = torch.arange(4.0, device=device).view(2, 2)
    fetched = staging.fetch(rows, np.array([1, 0]))
    assert fetched._host.is_pinned()
    assert fetched.wait().tolist() == [[2, 3], [0, 1]]


def test_many_batches_staged_at_once_keep_their_content(device):
    """More than there are buffers; the host waits for a copy rather than overwrite it."""
    staging = Staging(device, depth=2)
    batches = [pack(texts([4000], seed), torch.device("cpu")) for seed in range(20)]
    staged = [staging.stage(each) for each in batches]
    for there, here in zip(staged, batches, strict=True):
        assert torch.equal(there.ids.cpu(), here.ids)


def test_out_of_memory_is_told_apart_and_passes(runner, device):
    """A real one: this process may take little more than it has."""
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_reserved(device) + 2**20) / total, device
    )
    try:
        with pytest.raises(OutOfMemory):
            runner.run(texts([512] * 1024))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert np.isfinite(runner.run(texts([512] * 4))).all()


def test_memory_is_flat_over_a_thousand_batches(runner, device):
    generator = np.random.default_rng(3)
    lengths = [generator.integers(1, 200, generator.integers(1, 40)).tolist() for _ in range(1000)]
    for each in lengths[:100]:
        runner.run(texts(each))
    torch.cuda.synchronize()
    reserved = torch.cuda.memory_reserved(device)
    allocated = torch.cuda.memory_allocated(device)
    for each in lengths[100:]:
        runner.run(texts(each))
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated(device) <= allocated
    assert torch.cuda.memory_reserved(device) <= reserved + 64 * 2**20


def test_a_capture_that_fails_leaves_the_current_stream_as_it_was(device):
    """What waits for the device cannot be captured; torch leaves the capture's stream behind."""
    from qwire_server.model.cuda_graphs import CudaGraphs  # noqa: PLC0415  needs a GPU

    stream = torch.cuda.current_stream(device)
    with pytest.raises(RuntimeError):
        CudaGraphs(device).capture(lambda: torch.ones(1, device=device).cpu())
    assert torch.cuda.current_stream(device) == stream
